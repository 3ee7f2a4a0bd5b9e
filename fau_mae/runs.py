"""`fau-mae run`: prepare → stages × folds × seeds → occlusion sweep → results and report, resumable at any point.

On disk, under the run's folder: `store/`, `fold<k>-seed<s>/<stage>/{config.yaml, checkpoints, metrics.csv, finished}`,
`fold<k>-seed<s>/predictions/`, `results.parquet`, `curves.png`, `report.html`, and `run.json`, which remembers the
settings: another run with other settings in the same folder is refused rather than mixed in.
"""

import json
import shlex
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from data_modules.errors import UserError
from data_modules.store import write_atomically

FINISHED = "finished"  # a stage folder holds a file of this name once its training is complete


@dataclass(frozen=True)
class Experiment:
    """An `experiment.yaml`.

    `prepare`: source and options of the store. `stages`: in order; each names the stages whose last checkpoint it
    takes as an `init_args` value. `methods`: rows of the results, each made of one stage (and for `reconstruct` the
    autoencoder that fills in). `ladder`: kinds, severities and fill of the sweep.
    """

    name: str
    folder: Path
    prepare: dict[str, Any]
    folds: list[int]
    seeds: list[int]
    stages: dict[str, dict[str, str]]
    methods: dict[str, list[str]]
    ladder: dict[str, Any]


def experiments_root() -> Path:
    """The shipped YAMLs: in the wheel beside this file, in a checkout at its top."""
    inside = Path(__file__).parent / "_experiments"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "experiments"


def load_experiment(name: str) -> Experiment:
    """A built-in experiment by name, or any folder that holds `experiment.yaml`. Raises `UserError` otherwise."""
    folder = Path(name) if (Path(name) / "experiment.yaml").is_file() else experiments_root() / name
    path = folder / "experiment.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.parent.name for p in experiments_root().glob("*/experiment.yaml")))
        raise UserError(f"no experiment {name!r}: use one of {known}, or a folder that holds experiment.yaml")
    try:
        values = yaml.safe_load(path.read_text())
        return Experiment(name=folder.resolve().name, folder=folder, **values)
    except (yaml.YAMLError, TypeError) as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from error


def run_experiment(
    name: str,
    out: Path | None,
    store: Path | None,
    folds: list[int] | None,
    seeds: list[int] | None,
    overrides: list[str],
) -> None:
    """Do what is not done yet of an experiment, then print the table and where the report lies."""
    experiment = load_experiment(name)
    for_stages = _apply_overrides(experiment, overrides)
    out = out or Path("runs") / experiment.name
    folds, seeds = folds or experiment.folds, seeds or experiment.seeds
    store_path = store or out / "store"
    settings = json.loads(
        json.dumps({**asdict(experiment), "store": str(store_path), "overrides": for_stages}, default=str)
    )
    pairs = [(fold, seed) for fold in folds for seed in seeds]
    if _remembered(out, settings) == pairs:
        print(f"{experiment.name}: everything is done already")
    else:
        if store is None:
            _prepare(experiment, store_path)
        for fold, seed in pairs:
            _run_fold(experiment, out / f"fold{fold}-seed{seed}", store_path, fold, seed, for_stages)
        _summarise(experiment, out, pairs)
        write_atomically(out / "run.json", json.dumps({"settings": settings, "done": pairs}, indent=1))
    _print_tables(out)


def _remembered(out: Path, settings: dict[str, Any]) -> list[tuple[int, int]]:
    """The (fold, seed) pairs that are summed up in `out`; refuses a folder of other settings."""
    path = out / "run.json"
    if not path.is_file():
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"settings": settings, "done": []}, indent=1))
        return []
    memory = json.loads(path.read_text())
    for key in settings:
        if memory["settings"].get(key) != settings[key] and key not in ("folds", "seeds"):
            raise UserError(f"{out} was made with another {key!r}: use another --out, or delete that folder")
    return [(fold, seed) for fold, seed in memory["done"]]


def _apply_overrides(experiment: Experiment, overrides: list[str]) -> dict[str, list[str]]:
    """`--set` values: prepare.KEY and ladder.KEY change the experiment, STAGE.KEY one stage, any other KEY all."""
    for_stages: dict[str, list[str]] = {stage: [] for stage in experiment.stages}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set {text}: write KEY=VALUE, such as trainer.max_epochs=1")
        head, _, rest = key.partition(".")
        if head in ("prepare", "ladder"):
            section = getattr(experiment, head)
            if rest not in section:
                raise UserError(f"--set {text}: {head} has {', '.join(section)}, not {rest!r}")
            section[rest] = yaml.safe_load(value)
        elif head in for_stages:
            for_stages[head].append(f"--{rest}={value}")
        else:
            for lines in for_stages.values():
                lines.append(f"--{key}={value}")
    return for_stages


def _prepare(experiment: Experiment, store: Path) -> None:
    from data_modules import prepare

    options = dict(experiment.prepare)
    print(f"prepare: {options['source']} -> {store}", flush=True)
    prepare.prepare(options.pop("source"), store, options)


def _run_fold(
    experiment: Experiment, folder: Path, store: Path, fold: int, seed: int, overrides: dict[str, list[str]]
) -> None:
    """Every stage of one fold and seed that is not finished, then the sweep over its methods."""
    for stage in experiment.stages:
        if not (folder / stage / FINISHED).exists():
            line = fit_line(experiment, stage, folder, store, fold, seed, overrides[stage])
            print(f"{folder.name}: {stage}\n  fau-mae {shlex.join(line)}", flush=True)
            _launch(line)
    _sweep(experiment, folder)


def fit_line(
    experiment: Experiment, stage: str, folder: Path, store: Path, fold: int, seed: int, overrides: list[str]
) -> list[str]:
    """Arguments of `fau-mae` that train one stage; anyone may run them by hand. Resumes from `last.ckpt`."""
    line = ["fit", "--config", str(experiment.folder / f"{stage}.yaml"), "--out", str(folder / stage)]
    line += ["--experiment", experiment.name, "--seed_everything", str(seed)]
    line += ["--data.store", str(store), "--data.fold", str(fold), "--data.seed", str(seed)]
    for argument, source in experiment.stages[stage].items():
        line += [f"--model.init_args.{argument}", str(_last(folder, source))]
    line += overrides
    if (last := _last(folder, stage)).exists():
        line += ["--ckpt_path", str(last)]
    return line


def _last(folder: Path, stage: str) -> Path:
    return folder / stage / "checkpoints" / "last.ckpt"


def _launch(line: list[str]) -> None:
    """Train in this process, or in one of its own where Lightning starts more, which repeat their command line."""
    from fau_mae.lightning_cli import run_lightning

    if any(
        option.startswith(("--trainer.devices", "--trainer.strategy", "--trainer.num_nodes"))
        for option in line
    ):
        done = subprocess.run([sys.executable, "-m", "fau_mae.cli", *line], check=False)
        if done.returncode:
            raise UserError(f"the stage ended with exit code {done.returncode}; its own message is above")
    else:
        run_lightning(line)


def _sweep(experiment: Experiment, folder: Path) -> None:
    """Predictions of every method on every rung of the ladder, on the faces the first method's stage was set up for."""
    import torch

    from data_modules.face_data import FaceDataModule
    from fau_mae.evaluation import sweep

    first = next(iter(experiment.methods.values()))[0]
    trained = yaml.safe_load((folder / first / "config.yaml").read_text())["data"]
    data = FaceDataModule(**{**trained, "kinds": (), "fill": experiment.ladder["fill"]})
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    methods = [
        sweep.reconstruct_method(name, _last(folder, stages[0]), _last(folder, stages[1]), data.aus, device)
        if len(stages) == 2
        else sweep.au_method(name, _last(folder, stages[0]), data.aus, device)
        for name, stages in experiment.methods.items()
    ]
    specs = sweep.ladder(experiment.ladder["kinds"], experiment.ladder["severities"])
    print(f"{folder.name}: occlusion sweep, {len(methods)} methods × {len(specs)} occlusions", flush=True)
    sweep.sweep(methods, data, specs, folder)


def _summarise(experiment: Experiment, out: Path, pairs: list[tuple[int, int]]) -> None:
    """results.parquet, curves.png and report.html over all folds and seeds."""
    import pandas as pd

    from data_modules.store import FaceStore
    from fau_mae.evaluation.figures import curve_figure
    from fau_mae.evaluation.report import write_report
    from fau_mae.evaluation.scoring import score_predictions
    from fau_mae.evaluation.sweep import write_parquet

    first = next(iter(experiment.methods.values()))[0]
    tables = []
    for fold, seed in pairs:
        folder = out / f"fold{fold}-seed{seed}"
        trained = yaml.safe_load((folder / first / "config.yaml").read_text())
        tables.append(
            score_predictions(
                folder,
                experiment=experiment.name,
                dataset=FaceStore(trained["data"]["store"]).info.dataset,
                fold=fold,
                seed=seed,
                checkpoints={
                    name: str(_last(folder, stages[0]).relative_to(out))
                    for name, stages in experiment.methods.items()
                },
            )
        )
    results = pd.concat(tables, ignore_index=True)
    write_parquet(results, out / "results.parquet")
    curve_figure(results, out / "curves.png")
    write_report([out], out / "report.html")


def _print_tables(out: Path) -> None:
    import pandas as pd
    from rich.console import Console

    from fau_mae.evaluation.scoring import macro_table

    console = Console(width=100)
    for table in macro_table(pd.read_parquet(out / "results.parquet")):
        console.print(table)
    print(f"report: {out / 'report.html'}")
