"""What a run consists of: its stages, the command line of each, and which of them are done.

plan_stages(experiment, run folder, store, fold, seed) -> [StagePlan, …]      dry_run(…) prints all of them
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fau_mae.runs.config_files import merge, read_config
from fau_mae.runs.experiment import PRETRAIN, Experiment

FINISHED = "finished"  # a stage folder holds a file of this name once its training is complete


@dataclass(frozen=True)
class StagePlan:
    """One training: its name, its folder and the arguments of `fau-mae` that train it or go on with it."""

    name: str
    folder: Path
    line: list[str]

    @property
    def is_done(self) -> bool:
        return (self.folder / FINISHED).exists()

    @property
    def state(self) -> str:
        if self.is_done:
            return "done"
        if (last := last_checkpoint(self.folder)).exists():
            import torch

            reached = torch.load(last, map_location="cpu", weights_only=True, mmap=True)
            return f"resumes in epoch {reached['epoch']} after step {reached['global_step']}"
        return "to do"


def last_checkpoint(stage: Path) -> Path:
    return stage / "checkpoints" / "last.ckpt"


def fold_folder(out: Path, fold: int, seed: int) -> Path:
    return out / f"fold{fold}-seed{seed}"


def plan_stages(experiment: Experiment, out: Path, store: Path, fold: int, seed: int) -> list[StagePlan]:
    """The stages of one fold and seed, in order."""
    folder = fold_folder(out, fold, seed)
    plans = []
    for stage, takes in experiment.trained().items():
        line = ["fit", "--config", str(experiment.config(stage)), "--out", str(folder / stage)]
        line += ["--experiment", experiment.name, "--seed_everything", str(seed)]
        line += ["--data.store", str(store), "--data.fold", str(fold), "--data.seed", str(seed)]
        for argument, source in takes.items():
            from_elsewhere = source == PRETRAIN and experiment.mae is not None
            weights = experiment.mae if from_elsewhere else last_checkpoint(folder / source)
            line += [f"--model.init_args.{argument}", str(weights)]
        line += [*experiment.options.get(stage, []), "--ckpt_path", "last"]
        plans.append(StagePlan(stage, folder / stage, line))
    return plans


def needs_processes(line: list[str]) -> bool:
    """Whether a `fit` line may start processes of its own: anything but one device and no strategy."""
    trainer: dict[str, Any] = read_config(Path(line[line.index("--config") + 1])).get("trainer", {})
    for option in line:
        if option.startswith("--trainer.") and "=" in option:
            key, _, value = option.removeprefix("--trainer.").partition("=")
            trainer = merge(trainer, {key.split(".")[0]: yaml.safe_load(value)})
    return (
        str(trainer.get("devices", "auto")) != "1"
        or trainer.get("num_nodes", 1) != 1
        or trainer.get("strategy") not in (None, "auto")
    )


def prepare_line(options: dict[str, Any], store: Path) -> list[str]:
    """Arguments of `fau-mae` that make the store."""
    line = ["prepare", str(options["source"]), "--out", str(store)]
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if name == "source" or value is None or value is False:
            continue
        line += [flag] if value is True else [flag, *map(str, value if isinstance(value, list) else [value])]
    return line


def sweep_state(folder: Path) -> str:
    """How far the occlusion sweep of one fold and seed is; its example faces are written last."""
    if (folder / "predictions" / "test" / "examples.parquet").exists():
        return "done"
    files = sum(path.parent.name != "regions" for path in folder.glob("predictions/*/*/*.parquet"))
    return f"begun, {files} prediction files are there" if files else "to do"


def dry_run(
    experiment: Experiment,
    out: Path,
    store: Path,
    pairs: list[tuple[int, int]],
    prepares: bool,
    finished: bool,
) -> None:
    """Print every step with its state and the line that does it; nothing is read but what is there, nothing written."""
    print(f"{experiment.name}: {len(experiment.trained())} stages × {len(pairs)} folds and seeds, in {out}")
    made = (store / "store.json").exists()
    print(f"store {store}: {'done' if made else 'to do' if prepares else 'given, but not there'}")
    if prepares:
        print(f"    fau-mae {shlex.join(prepare_line(experiment.prepare, store))}")
    for fold, seed in pairs:
        for stage in plan_stages(experiment, out, store, fold, seed):
            print(f"fold{fold}-seed{seed} {stage.name}: {stage.state}")
            print(f"    fau-mae {shlex.join(stage.line)}")
        print(f"fold{fold}-seed{seed} occlusion sweep: {sweep_state(fold_folder(out, fold, seed))}")
    print(f"results and report: {'done' if finished else 'to do'}")
    print(
        "the sweep and the results are made by the same `fau-mae run` without --dry-run, once stages are done"
    )
