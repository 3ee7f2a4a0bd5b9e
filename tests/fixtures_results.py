"""Finished experiments in their layout on disk, with made-up but plausible predictions: no model is run."""

import json
import re
from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from data_modules.facs import DISFA_AUS, au_name, au_region
from fau_mae.evaluation import predictions
from fau_mae.evaluation.regions import region_hidden_share
from fau_mae.evaluation.scoring import score_predictions

PREDICTIONS = re.compile(r"predictions/(test|validation)/[^/]+-(none|oracle|blind)/[^/]+\.parquet$")
AUS = tuple(au_name(number) for number in DISFA_AUS)
METHODS = (
    ("clean", "none", 0.9),
    ("augmented", "none", 0.45),
    ("reconstruct", "oracle", 0.7),
    ("student", "oracle", 0.3),
    ("student", "blind", 0.4),
)
SEVERITIES = (0.1, 0.25, 0.5, 0.75, 0.9)
KINDS = ("patches", "block")


def write_split(
    folder: Path,
    rng: np.random.Generator,
    subjects: int,
    frames: int,
    severities=SEVERITIES,
    kinds=KINDS,
    fold=1,
) -> None:
    """Labels and a file per method, kind and severity; some labels are unknown, some faces repeated."""
    # Faces: the same for every seed of a fold.
    said, rng = (
        rng,
        np.random.default_rng([fold, len(folder.name)]),
    )
    n = subjects * frames
    sample_id = rng.permutation(10 * n)[:n].astype(np.int64)
    subject = np.repeat([f"F{fold}S{i:03d}" for i in range(subjects)], frames)
    trait = np.repeat(rng.normal(0, 0.5, (subjects, len(AUS))), frames, 0)
    labels = (rng.normal(0, 1, (n, len(AUS))) + trait > np.linspace(0.2, 1.3, len(AUS))).astype(np.int8)
    known = np.where(rng.random(labels.shape) < 0.02, -1, labels).astype(np.int8)
    face_noise = rng.normal(0, 1, labels.shape)  # what makes a face hard is shared by all methods
    folder.mkdir(parents=True, exist_ok=True)
    ids = pd.DataFrame({"sample_id": sample_id, "subject": subject})
    pd.concat([ids, pd.DataFrame(known, columns=AUS)], axis=1).to_parquet(folder / "labels.parquet")
    repeated = np.append(np.arange(n), [0, 1, 2])  # as a distributed sampler pads
    for method, mask_source, weakness in METHODS:
        for kind, severity in [("none", 0.0), *((k, s) for k in kinds for s in severities)]:
            harm = weakness * severity * (1.15 if kind == "block" else 1.0)
            signal = 3.4 * (1 - min(harm * 1.05, 0.98))
            noise = 0.7 * face_noise + 0.7 * said.normal(0, 1, labels.shape)
            logits = signal * (labels - 0.5) + 1.1 * noise - 0.8
            table = pd.concat(
                [
                    ids.assign(hidden=severity),
                    pd.DataFrame((1 / (1 + np.exp(-logits))).astype(np.float32), columns=AUS),
                ],
                axis=1,
            )
            path = folder / f"{method}-{mask_source}" / f"{kind}-{severity:.2f}.parquet"
            path.parent.mkdir(exist_ok=True)
            table.iloc[repeated].to_parquet(path)
    for kind, severity in [("none", 0.0), *((k, s) for k in kinds for s in severities)]:
        visible = rng.random((n, 64)) >= severity
        shares = pd.DataFrame(
            region_hidden_share(visible, [au_region(au, "canonical") for au in DISFA_AUS]), columns=AUS
        )
        path = folder / "regions" / f"{kind}-{severity:.2f}.parquet"
        path.parent.mkdir(exist_ok=True)
        pd.concat([ids[["sample_id"]], shares], axis=1).to_parquet(path)


def write_run(folder: Path, rng: np.random.Generator, subjects: int = 8, frames: int = 25, **grid) -> Path:
    """One fold and seed: predictions of both splits, stages with settings and training curves, examples."""
    for split in ("validation", "test"):
        write_split(folder / "predictions" / split, rng, subjects, frames, **grid)
    write_stage(folder / "pretrain", rng, {"val/loss": (0.9, 0.35)}, learning_rate=1.5e-4)
    write_stage(
        folder / "teacher", rng, {"val/auroc": (0.55, 0.9), "val/f1": (0.2, 0.62)}, learning_rate=1e-3
    )
    write_stage(folder / "student", rng, {"val/auroc": (0.6, 0.88), "val/f1": (0.3, 0.6)}, learning_rate=7e-4)
    write_examples(folder / "predictions" / "test", rng, **grid)
    write_mask_quality(folder / "predictions" / "test", **grid)
    return folder


def write_mask_quality(folder: Path, severities=SEVERITIES, kinds=KINDS, fold=1) -> None:
    """`mask_quality.parquet`, as a sweep with a detector leaves it."""
    rows = [("none", 0.0, np.nan, np.nan)] + [
        (k, s, 0.99 - s / 10, 0.9 - s / 5) for k in kinds for s in severities
    ]
    table = pd.DataFrame(rows, columns=["kind", "severity", "patch_auroc", "iou"])
    table.assign(hidden=table["severity"], estimated=table["severity"]).to_parquet(
        folder / "mask_quality.parquet"
    )


def write_stage(folder: Path, rng: np.random.Generator, curves: dict, learning_rate: float) -> None:
    """`config.yaml`, sparse `metrics.csv` as Lightning's CSVLogger writes it, and `cost.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(
        "seed_everything: 0\ntrainer:\n  max_epochs: 8\n  precision: bf16-mixed\n"
        f"model:\n  class_path: fau_mae.tasks.{folder.name}\n"
        f"  init_args:\n    learning_rate: {learning_rate}\n"
        "    severities: [0.1, 0.25, 0.5, 0.75]\ndata:\n  folder: stores/<synthetic>\n  image_size: 96\n"
    )
    rows, steps = [], 400
    for step in range(0, steps, 10):
        done = step / steps
        rows.append(
            {"step": step, "epoch": step // 50, "train/loss": 1.1 * np.exp(-3 * done) + rng.normal(0, 0.02)}
        )
        if step % 50 == 40:
            values = {name: a + (b - a) * (1 - np.exp(-4 * done)) for name, (a, b) in curves.items()}
            rows.append({"step": step, "epoch": step // 50, **values})
    pd.DataFrame(rows).to_csv(folder / "metrics.csv", index=False)
    cost = {"seconds": 74.2, "peak_memory_mb": 812.0, "device": "cpu", "parameters": 3_100_000}
    (folder / "cost.json").write_text(json.dumps(cost))


def write_examples(
    folder: Path, rng: np.random.Generator, severities=SEVERITIES, kinds=KINDS, fold=1
) -> None:
    """`examples.parquet`: drawn stand-ins for faces, occluded and filled in, with what each method says."""
    rows = []
    for sample_id in (11, 12):
        truth = {au: int(rng.random() < 0.4) for au in AUS}
        order = rng.permutation(64)
        for kind, severity in [("none", 0.0), *((k, s) for k in kinds for s in severities)]:
            said = {
                f"{method}-{mask}": {
                    au: float(np.clip(y + rng.normal(0, 0.15 + weakness * severity), 0.01, 0.99))
                    for au, y in truth.items()
                }
                for method, mask, weakness in METHODS
            }
            rows.append(
                {
                    "kind": kind,
                    "severity": severity,
                    "sample_id": sample_id,
                    "jpeg": _face(
                        sample_id, order[: round(64 * severity)] if kind == "patches" else None, severity
                    ),
                    "reconstruction": _face(sample_id, None, 0.0) if severity else None,
                    "probabilities": json.dumps(said),
                    "labels": json.dumps(truth),
                }
            )
    pd.DataFrame(rows).to_parquet(folder / "examples.parquet")


def _face(sample_id: int, cells: np.ndarray | None, severity: float, size: int = 96) -> bytes:
    picture = Image.new("RGB", (size, size), (70, 90, 110))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((12, 4, 84, 94), fill=(224 - sample_id * 3, 172, 140))
    for x in (32, 64):
        draw.ellipse((x - 7, 32, x + 7, 42), fill=(250, 250, 250))
        draw.ellipse((x - 3, 33, x + 3, 41), fill=(40, 30, 30))
    draw.arc((30, 50, 66, 80), 20, 160, fill=(150, 40, 50), width=4)
    if cells is not None:
        for cell in cells:
            y, x = divmod(int(cell), 8)
            draw.rectangle((x * 12, y * 12, x * 12 + 11, y * 12 + 11), fill=(128, 128, 128))
    elif severity:
        side = size * severity**0.5
        draw.rectangle((size - side, size - side, size, size), fill=(128, 128, 128))
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def write_experiment(folder: Path, folds=(1,), seeds=(0,), **size) -> Path:
    """`folder/fold<k>-seed<s>/...` and `folder/results.parquet`, as `fau-mae run` leaves them."""
    for fold in folds:
        for seed in seeds:
            rng = np.random.default_rng([fold, seed])
            write_run(folder / f"fold{fold}-seed{seed}", rng, fold=fold, **size)
    score_experiment(folder)
    return folder


def score_experiment(folder: Path) -> None:
    """`results.parquet` from the predictions of every `fold<k>-seed<s>`."""
    tables = []
    for run in sorted(folder.glob("fold*-seed*")):
        fold, seed = run.name.removeprefix("fold").split("-seed")
        scored = score_predictions(
            run,
            experiment=folder.name,
            dataset="synthetic",
            fold=int(fold),
            seed=int(seed),
            checkpoints={"student": "s"},
        )
        tables.append(scored)
    pd.concat(tables, ignore_index=True).to_parquet(folder / "results.parquet")


def add_method(
    experiment: Path, name: str, cells: str = "*", runs: str = "*", wrong: tuple[str, ...] = ()
) -> None:
    """A method more, not scored yet, that says what `student-oracle` does, of `wrong` AUs the opposite.

    Args:
        name: with its mask source, such as `specialist-oracle`.
        cells: pattern of the predictions it has, such as `*-0.25` for one severity.
        runs: pattern of the runs it has them in, such as `*-seed0`.
    """
    for path in experiment.glob(f"{runs}/predictions/*/student-oracle/{cells}.parquet"):
        table = pd.read_parquet(path)
        copy = path.parent.with_name(name) / path.name
        copy.parent.mkdir(exist_ok=True)
        table.assign(**{au: 1 - table[au] for au in wrong}).to_parquet(copy)


def page_data(page: Path) -> dict:
    """What a report page holds."""
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)[1])


def count_reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each predictions file is opened from now on, by its path."""
    read, counts = predictions.read_columns, Counter[str]()

    def counted(path):
        if PREDICTIONS.search(str(path)):
            counts[str(path)] += 1
        return read(path)

    monkeypatch.setattr(predictions, "read_columns", counted)
    return counts
