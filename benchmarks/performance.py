"""Writes docs/performance.md: what each saving is worth, beside what it replaces, measured in one run.

    python benchmarks/performance.py [--run runs/quickstart]

With the folder of a finished run, the second plot is drawn too. Takes some minutes.
"""

import argparse
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from measuring import Row, command_seconds, in_turns, machine
from torch import Tensor

from data_modules import files
from data_modules.batch import FaceBatch, FaceShape
from data_modules.face_data import FaceDataModule
from data_modules.facs import SYNTHETIC_AUS, au_name, au_region
from data_modules.synthetic import prepare_synthetic
from fau_mae import metrics
from fau_mae.evaluation.bootstrap import draw_people
from fau_mae.evaluation.ladder import rungs, walk_ladder
from fau_mae.evaluation.methods import Method
from fau_mae.evaluation.names import method_key, method_look
from fau_mae.evaluation.resampling import auroc_of_draws
from fau_mae.evaluation.scored_run import FoldRun, score_run
from fau_mae.models.au_model import AUModel, AUModelConfig
from fau_mae.reports.page import write_report
from fau_mae.weights.checkpoints import load_au_model

DOCS = Path(__file__).parent.parent / "docs"
SHARES = (0.0, 0.25, 0.5, 0.75, 0.9)  # hidden
LADDER = (0.1, 0.25, 0.5, 0.75, 0.9)


def shape(size: int, grid: int) -> FaceShape:
    return FaceShape(size, grid, tuple(au_region(au, "canonical") for au in SYNTHETIC_AUS), "canonical")


MODELS = {  # name: (options, shape, faces a pass)
    "quickstart's micro, 64 tokens": (AUModelConfig("micro", "gradient", layers=(-1,)), shape(96, 8), 48),
    "ViT-S, 196 tokens": (AUModelConfig("small"), shape(224, 14), 4),
}


def batch_of(faces: FaceShape, count: int, hidden: float) -> tuple[Tensor, Tensor | None]:
    """Noise, and a mask of exactly this share; None where nothing is hidden."""
    image = torch.randint(0, 256, (count, 3, faces.image_size, faces.image_size), dtype=torch.uint8)
    shown = round((1 - hidden) * faces.grid**2)
    visible = torch.rand(count, faces.grid**2).argsort(1).argsort(1) < shown  # True = visible
    return image, visible if hidden else None


def by_hidden_share() -> tuple[list[Row], dict[str, dict[str, list[float]]]]:
    """Forward and training step of both models at every share -> rows, and {model: {what: ms by share}}."""
    rows, curves = [], {}
    goals = {
        "quickstart's micro, 64 tokens": "1.3 / 2.0 / 3.7 / 7",
        "ViT-S, 196 tokens": "1.36 / 2.07 / 4.17 / 9.4",
    }
    for name, (config, faces, count) in MODELS.items():
        model = AUModel(config, faces)
        batches = [batch_of(faces, count, hidden) for hidden in SHARES]

        def forward(image: Tensor, visible: Tensor | None, model: AUModel = model) -> None:
            with torch.inference_mode():
                model(image, visible)

        def step(image: Tensor, visible: Tensor | None, model: AUModel = model) -> None:
            model(image, visible).logits.square().mean().backward()

        curves[name] = {
            what: in_turns(*(lambda b=batch, w=work: w(*b) for batch in batches), rounds=3)
            for what, work in (("forward", forward), ("forward and backward", step))
        }
        for what, times in curves[name].items():
            for place, (hidden, ms) in enumerate(zip(SHARES[1:], times[1:])):
                goal = goals[name].split(" / ")[place] if what == "forward" else ""
                measure = f"{what}, {hidden:.0%} hidden, beside nothing hidden: {name}"
                rows.append(Row(measure, ms, times[0], "ms", goal))
    return rows, curves


def parts_of_models() -> list[Row]:
    """Stems and heads."""

    def step(config: AUModelConfig, faces: FaceShape, count: int):
        model, (image, _) = AUModel(config, faces), batch_of(faces, count, 0)
        return lambda: model(image).logits.square().mean().backward()

    micro = AUModelConfig("micro", layers=(-1,))
    gradient = step(replace(micro, stem="gradient"), shape(96, 8), 48)
    linear = step(micro, shape(96, 8), 48)
    graph, query = step(replace(micro, head="me_graphau"), shape(224, 14), 2), step(micro, shape(224, 14), 2)
    rows = []
    for measure, works in (
        ("step with the stem `gradient` beside `linear`, micro, 64 tokens", (gradient, linear)),
        ("step with the head `me_graphau` beside `query_graph`, micro, 196 tokens", (graph, query)),
    ):
        ours, rival = in_turns(*works, rounds=3)
        rows.append(Row(measure, ours, rival, "ms", ""))
    return rows


def ladder(folder: Path) -> list[Row]:
    """Walk the ladder with one model that drops hidden tokens, beside as many passes over whole faces."""
    prepare_synthetic(folder / "store", identities=30, frames=8, size=96, seed=3, workers=1, progress=False)
    data = FaceDataModule(folder / "store", grid=8)
    config, faces, _ = MODELS["quickstart's micro, 64 tokens"]
    model = AUModel(config, FaceShape(faces.image_size, faces.grid, data.faces.regions, data.preset)).eval()

    def predict(batch: FaceBatch) -> Tensor:
        return model(batch.image, batch.visible).logits.sigmoid()

    def walk() -> None:
        with tempfile.TemporaryDirectory() as out:
            walk_ladder([Method("student", "oracle", Path(), predict)], data, specs, Path(out))

    @torch.inference_mode()
    def dense() -> None:
        for split in ("validation", "test"):
            for spec in specs:
                for batch in data.ladder_dataloader(split, spec):
                    model(batch.image).logits.sigmoid().numpy()

    specs = rungs(("patches", "block"), LADDER)
    ours, rival = in_turns(walk, dense, rounds=3)
    name = "the ladder of two kinds with a student, files written, beside as many passes over whole faces"
    return [Row(name, ours / 1000, rival / 1000, "s", f"{1 / 0.55:.2f}")]


def bootstrap() -> list[Row]:
    """The draws of one AU and cell, beside a table of pairs of people from one row per score and column per person."""
    rows = []
    for people, pictures in ((1500, 1), (27, 100)):
        rng = np.random.default_rng(0)
        person, p = np.repeat(np.arange(people), pictures), rng.random(people * pictures)
        y = (rng.random(len(p)) < p / 2).astype(np.int8)
        draws = draw_people(people, 1000, rng)
        (ranking,) = metrics.rankings(p[:, None], y[:, None])
        works = partial(auroc_of_draws, ranking, person, draws), partial(_from_table, p, y, person, draws)
        assert np.allclose(works[0](), works[1](), atol=1e-9)
        ours, rival = in_turns(*works, rounds=3)
        name = f"1,000 draws of {people:,} people, pictures each: {pictures}, beside a table of all pairs"
        rows.append(Row(name, ours, rival, "ms", ""))
    return rows


def _from_table(p: np.ndarray, y: np.ndarray, person: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """AUROC of each draw, for scores without ties."""
    weights, level = draws.T.astype(float), np.argsort(np.argsort(p))
    negative, positive = (np.zeros((len(p), len(draws))) for _ in range(2))
    for value, table in ((0, negative), (1, positive)):
        table[level[y == value], person[y == value]] = 1
    pairs = positive.T @ (np.cumsum(negative, 0) - negative / 2)
    possible = (weights @ positive.sum(0)) * (weights @ negative.sum(0))
    return ((weights @ pairs) * weights).sum(1) / possible


def report(folder: Path, faces: int) -> tuple[float, int]:
    """CPU seconds of scores, draws and page for `faces` test faces, 6 methods and 11 occlusions -> seconds, cells."""
    rng, names = np.random.default_rng(0), [au_name(au) for au in SYNTHETIC_AUS[:12]]
    specs = rungs(("patches", "block"), LADDER)
    for split in ("validation", "test"):
        place = folder / "predictions" / split
        ids = pd.DataFrame({"sample_id": np.arange(faces), "subject": [f"P{i % 27}" for i in range(faces)]})
        labels = (rng.random((faces, len(names))) < 0.3).astype(np.int8)
        files.write_parquet(
            place / "labels.parquet", pd.concat([ids, pd.DataFrame(labels, columns=names)], axis=1)
        )
        for number in range(6):
            for spec in specs:
                p = (0.3 * labels + 0.7 * rng.random(labels.shape)).astype(np.float32)
                table = pd.concat([ids.assign(hidden=spec.severity), pd.DataFrame(p, columns=names)], axis=1)
                files.write_parquet(
                    place / f"m{number}-none" / f"{spec.kind}-{spec.severity:.2f}.parquet", table
                )

    def work() -> None:
        run = score_run(folder, [FoldRun(folder, 1, 0)], experiment="made-up", dataset="made-up")
        write_report([run], folder / "report.html")

    (milliseconds,) = in_turns(work, rounds=1)
    return milliseconds / 1000, 6 * len(specs)


def draw_hidden_share(curves: dict[str, dict[str, list[float]]], out: Path) -> None:
    figure, axes = plt.subplots(1, len(curves), figsize=(9, 3.4), layout="constrained", squeeze=False)
    for axis, (name, lines) in zip(axes[0], curves.items()):
        for what, times in lines.items():
            axis.plot([100 * s for s in SHARES], [ms / times[0] for ms in times], "o-", label=what)
        axis.plot([0, 100], [1, 0], ":", color="#59636e", label="share of tokens")
        axis.set(
            title=name, xlabel="share of the face hidden, %", ylabel="time, of a whole face's", ylim=(0, 1.05)
        )
    axes[0, 0].legend(frameon=False)
    with files.aside(out) as part:
        figure.savefig(part, dpi=120, format="png")


def draw_compute(run: Path, out: Path) -> None:
    """Macro-AUROC of a finished run's methods against milliseconds a face, a point per severity, means over kinds."""
    results = pd.read_parquet(run / "results.parquet")
    means = results[results["au"] == "macro"].groupby(["method", "mask_source", "severity"])["auroc"].mean()
    loaded = load_au_model(next(run.glob("fold*/student/checkpoints/last.ckpt")))
    model, faces = loaded.model.eval(), loaded.model.faces
    severities = sorted(means.index.unique("severity"))
    batches = [batch_of(faces, 32, severity) for severity in severities]
    with torch.inference_mode():
        times = in_turns(*(lambda b=batch: model(*b) for batch in batches), rounds=3)
    cost = {severity: ms / 32 for severity, ms in zip(severities, times)}
    figure, axis = plt.subplots(figsize=(6.4, 4), layout="constrained")
    pairs = {
        (m, s)
        for m, s, _ in means.index
        if m in ("clean", "augmented", "dropped", "student") and s != "blind"
    }
    for method, mask in sorted(pairs, key=lambda pair: method_key(*pair)):
        line, look = means.loc[method, mask], method_look(method, ())
        at = [cost[severity] if mask == "oracle" else cost[severities[0]] for severity in line.index]
        axis.plot(at, line, color=look.colour, marker=look.marker, markersize=4, label=method)
    axis.set(xlabel="milliseconds a face, one thread", ylabel="macro-AUROC, a point per hidden share")
    axis.legend(frameon=False)
    with files.aside(out) as part:
        figure.savefig(part, dpi=120, format="png")


def document(rows: list[Row], notes: list[str], compute: bool) -> str:
    lines = [
        "# Performance",
        "",
        "Written by `make bench` (`python benchmarks/performance.py`). CPU time of one thread, both ways in turns,",
        "medians; `times` = rival / ours, more is better. Only ratios carry over to other machines.",
        "",
        f"Measured on: {machine()}.",
        "",
        "| measure | ours | rival | times | goal |",
        "|---|---|---|---|---|",
        *(
            f"| {r.measure} | {r.ours:.3g} {r.unit} | {r.rival:.3g} {r.unit} | {r.ratio:.2f} | {r.goal} |"
            for r in rows
        ),
        "",
        *notes,
        "",
        "A step of masked autoencoding beside transformers' ViTMAE: `python benchmarks/mae_step.py`. Idle threads",
        "beside a busy process: `python benchmarks/savings.py waiting`.",
        "",
        "![Time against hidden share](images/hidden_share.png)",
    ]
    if compute:
        lines += ["", "AUROC against compute, from a run's results and its student's time:", ""]
        lines += ["![AUROC against compute](images/auroc_compute.png)"]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=None, help="a finished run, for AUROC against compute")
    parser.add_argument("--faces", type=int, default=50_000, help="of the report's made-up predictions")
    options = parser.parse_args()
    rows, curves = by_hidden_share()
    rows += parts_of_models()
    rows += bootstrap()
    with tempfile.TemporaryDirectory() as folder:
        rows += ladder(Path(folder))
        seconds, cells = report(Path(folder), options.faces)
    dry, torch_help = command_seconds("run", "quickstart", "--dry-run"), command_seconds("fit", "--help")
    notes = [
        f"Scores, draws and page of {options.faces:,} faces, {cells} cells, 12 action units: {seconds:.1f} s "
        "of CPU time (goal: 8 s).",
        f"`fau-mae run quickstart --dry-run`: {dry:.1f} s of CPU time (goal: 2 s); `fau-mae fit --help`: "
        f"{torch_help:.1f} s (goal: 2 s; torch and Lightning are imported before it can be printed).",
    ]
    draw_hidden_share(curves, DOCS / "images" / "hidden_share.png")
    if options.run:
        draw_compute(options.run, DOCS / "images" / "auroc_compute.png")
    files.write_text(DOCS / "performance.md", document(rows, notes, options.run is not None))


if __name__ == "__main__":
    main()
