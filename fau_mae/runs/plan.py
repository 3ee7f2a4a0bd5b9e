"""What a run consists of: its stages, the command line of each, and which of them are done.

plan_stages(experiment, run folder, store, fold, seed) -> [StagePlan, …]      the whole of a run: graph.py

The line of a stage names its settings as EXPERIMENT/STAGE, which `fau-mae fit --config` looks up as `complete` does,
and says the rest in options: where things lie, which fold, which seed, which weights it starts from.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_modules.errors import UserError
from fau_mae.run_folder import (
    FINISHED,
    fold_folder,
    last_checkpoint,
    name_of,
    taken_by,
    targets_folder,
    training_id,
)
from fau_mae.runs.config_files import merge, nested, read_config
from fau_mae.runs.experiment import PRETRAIN, Experiment, Stage, find_experiment, load_experiment
from fau_mae.runs.overrides import effective
from fau_mae.runs.schema import nearest


@dataclass(frozen=True)
class StagePlan:
    """One training: its name, its folder and the arguments of `fau-mae` that train it or go on with it."""

    name: str
    folder: Path
    line: list[str]
    takes: dict[str, Path]  # stages whose checkpoints it takes -> their folders
    needs_processes: bool = False  # whether Lightning may start more: anything but one device and no strategy

    @property
    def is_done(self) -> bool:
        return (self.folder / FINISHED).exists()

    def check_taken(self) -> None:
        """Raises `UserError` where it is done, but of weights that are no longer there or are to be trained again."""
        known = taken_by(self.folder) if self.is_done else {}
        for source, place in self.takes.items():
            if source in known and training_id(place) != known[source]:
                raise UserError(
                    f"{self.folder} was trained from another {source} than is, or is to be, in {place}: delete "
                    f"{self.folder} to train it again, or put that {source} back"
                )

    @property
    def state(self) -> str:
        if self.is_done:
            return "done"
        if (last := last_checkpoint(self.folder)).exists():
            return f"resumes {_reached(last)}"
        return "to do"


def _reached(last: Path) -> str:
    """Where a training goes on from. A damaged checkpoint is said here, as `fit` will refuse it."""
    import torch

    try:
        reached = torch.load(last, map_location="cpu", weights_only=True, mmap=True)
        return f"in epoch {reached['epoch']} after step {reached['global_step']}"
    except Exception:  # torch raises half a dozen kinds for a file that is no checkpoint
        return f"nowhere: {last} is damaged; delete it, or put a copy back"


def wiring(
    experiment: Experiment, stage: str, out: Path, store: Path, fold: int, seed: int
) -> dict[str, Any]:
    """The settings of a stage that its run decides, by dotted name: where things lie, fold, seed, weights."""
    folder = fold_folder(out, fold, seed)
    values: dict[str, Any] = {
        "out": str(folder / stage),
        "experiment": experiment.name,
        "run_name": name_of(out, experiment.label),
        "seed_everything": seed,
    }
    values |= {"data.store": str(store), "data.fold": fold, "data.seed": seed}
    for argument, source in experiment.every_stage()[stage].takes.items():
        from_elsewhere = source == PRETRAIN and experiment.mae is not None
        weights = experiment.mae if from_elsewhere else last_checkpoint(folder / source)
        values[f"model.init_args.{argument}"] = str(weights)
    if _taught(experiment.every_stage()[stage]) and sum(map(_taught, experiment.trained().values())) > 1:
        values["model.init_args.targets"] = str(targets_folder(out, fold, seed))
    return values


def _taught(stage: Stage) -> bool:
    return "teacher" in stage.takes


def plan_stage(experiment: Experiment, name: str, out: Path, store: Path, fold: int, seed: int) -> StagePlan:
    """One stage of one fold and seed."""
    stage, folder = experiment.every_stage()[name], fold_folder(out, fold, seed)
    line = ["fit", "--config", f"{experiment.reference}/{name}"]
    for key, value in wiring(experiment, name, out, store, fold, seed).items():
        line += [f"--{key}", str(value)]
    line += [*stage.options, "--ckpt_path", "last"]
    takes = {
        source: folder / source
        for source in stage.takes.values()
        if source != PRETRAIN or experiment.mae is None
    }
    return StagePlan(name, folder / name, line, takes, _needs_processes(effective(stage).get("trainer", {})))


def plan_stages(experiment: Experiment, out: Path, store: Path, fold: int, seed: int) -> list[StagePlan]:
    """The stages of one fold and seed that a run trains, in order."""
    return [plan_stage(experiment, name, out, store, fold, seed) for name in experiment.trained()]


def _needs_processes(trainer: dict[str, Any]) -> bool:
    return (
        str(trainer.get("devices", "auto")) != "1"
        or trainer.get("num_nodes", 1) != 1
        or trainer.get("strategy") not in (None, "auto")
    )


def complete(arguments: list[str]) -> list[str]:
    """A `fit` line with all its `--config`s as one text that jsonargparse reads as it is, later ones laid over.

    Each is a YAML file, its `base` files merged in, or EXPERIMENT/STAGE: the stage as the experiment's own run, in
    `runs/EXPERIMENT`, trains it in its first fold with its first seed. Raises `UserError` for anything else.
    """
    rest: list[str] = []
    settings: dict[str, Any] | None = None
    words = iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if option not in ("--config", "-c"):
            rest.append(word)
            continue
        if not equals and (value := next(words, "")) == "":
            raise UserError(f"{word} needs a YAML file, or EXPERIMENT/STAGE such as quickstart/student")
        if settings is None:
            rest.append("--config")  # its text goes here
        settings = merge(settings or {}, read_stage(value))
    if settings is None:
        return rest
    at = rest.index("--config")
    return [*rest[:at], f"--config={json.dumps(settings, default=str)}", *rest[at + 1 :]]


def read_stage(name: str) -> dict[str, Any]:
    """The settings of a YAML file or of EXPERIMENT/STAGE."""
    if Path(name).is_file():
        return read_config(Path(name))
    folder, _, stage = name.rpartition("/")
    if not folder or find_experiment(folder) is None:
        raise UserError(
            f"--config {name} does not exist: give a YAML file, or EXPERIMENT/STAGE such as quickstart/student"
        )
    experiment = load_experiment(folder)
    if stage not in (known := experiment.every_stage()):
        raise UserError(
            f"--config {name}: {experiment.name} has no stage {stage!r}: did you mean {nearest(stage, known)!r}?"
        )
    out = Path("runs") / experiment.name
    own = wiring(experiment, stage, out, out / "store", experiment.folds[0], experiment.seeds[0])
    return merge(known[stage].settings, nested(own))


def prepare_line(options: dict[str, Any], store: Path) -> list[str]:
    """Arguments of `fau-mae` that make the store."""
    line = ["prepare", str(options["source"]), "--out", str(store)]
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if name == "source" or value is None or value is False:
            continue
        line += [flag] if value is True else [flag, *map(str, value if isinstance(value, list) else [value])]
    return line
