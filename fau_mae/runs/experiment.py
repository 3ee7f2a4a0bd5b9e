"""An experiment: `experiment.yaml` of a built-in name or of a folder. docs/experiments.md is its schema.

load_experiment("quickstart") -> Experiment      its stages with all their settings, methods, ladder
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_modules.errors import UserError
from fau_mae.runs import schema
from fau_mae.runs.config_files import experiments_root, find_file, merge, read_config, read_layers
from fau_mae.weights.shipped import file_of, is_shipped

FILE = "experiment.yaml"
PRETRAIN = "pretrain"  # the stage that `--mae` replaces


@dataclass(frozen=True)
class Stage:
    """One training.

    `settings`: what its YAML pieces and the experiment say of model, data and trainer; no paths. `takes`: argument of
    the model -> the stage whose last checkpoint it is. `by_hand`: trained by `--stage` alone. `options`: `--set` texts
    as arguments of `fau-mae fit`.
    """

    settings: dict[str, Any]
    takes: dict[str, str]
    by_hand: bool = False
    options: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Experiment:
    """An `experiment.yaml`, and what the command line changed in it.

    `reference`: how the command line names it, a built-in name or a folder. `prepare`: source and options of the
    store. `methods`: rows of the results: {"reads_with": stage}, with "fills_with" for the autoencoder that fills in
    first, or {"at": {severity: stage}} for a model per severity. `ladder`: kinds, severities and fill of the
    occlusions, the rule of thresholds, and the stage, if any, whose `detector` estimates masks. `ablations`: further
    stages, each a row of its own, trained and tested where `ablate` says so. `mae`: weights from elsewhere that stand
    in for the pre-training stage. `label`: what the run is to be called, "" = as its folder.
    """

    name: str
    reference: str
    prepare: dict[str, Any]
    folds: list[int]
    seeds: list[int]
    stages: dict[str, Stage]
    methods: dict[str, dict[str, Any]]
    ladder: dict[str, Any]
    ablations: dict[str, Stage] = field(default_factory=dict)
    about: str = ""
    cost: str = ""
    ablate: bool = False
    mae: Path | None = None
    label: str = ""

    def trained(self) -> dict[str, Stage]:
        """Stages that a run trains, in order."""
        stages = {name: stage for name, stage in self.stages.items() if not stage.by_hand}
        return stages | (self.ablations if self.ablate else {})

    def every_stage(self) -> dict[str, Stage]:
        return self.stages | self.ablations

    def every_method(self) -> dict[str, dict[str, Any]]:
        """Methods, and ablations as methods."""
        return self.methods | {name: {"reads_with": name} for name in self.ablations}

    def first_stage(self) -> str:
        """The stage that makes the first method: its data settings tell which faces are tested."""
        return stages_of(next(iter(self.methods.values())))[0]

    def compared(self) -> dict[str, dict[str, Any]]:
        """Methods that are to be tested."""
        return self.every_method() if self.ablate else self.methods


def stages_of(method: dict[str, Any]) -> list[str]:
    """The stages that make a method, the one that reads first."""
    if "at" in method:
        return list(method["at"].values())
    return [method[key] for key in ("reads_with", "fills_with") if method.get(key)]


def find_experiment(name: str) -> Path | None:
    """The `experiment.yaml` of a folder or a built-in name."""
    for folder in (Path(name), experiments_root() / name):
        if (folder / FILE).is_file() and not folder.name.startswith("_"):
            return folder / FILE
    return None


def built_in() -> list[str]:
    """Names of the shipped experiments."""
    return sorted(path.parent.name for path in experiments_root().glob(f"[!_]*/{FILE}"))


def load_experiment(name: str) -> Experiment:
    """A built-in experiment by name, or any folder that holds `experiment.yaml`.

    Raises:
        UserError: there is none, or it holds what the schema does not know; names the nearest key.
    """
    path = find_experiment(name)
    if path is None:
        known = ", ".join(built_in())
        raise UserError(f"no experiment {name!r}: use one of {known}, or a folder that holds {FILE}")
    layers = read_layers(path)
    values = schema.checked(path, layers.values)
    pieces = _Pieces(path, layers.folders, values.pop("set", {}))
    stages = pieces.stages(values.pop("stages"), {})
    ablations = pieces.stages(values.pop("ablations", {}), stages)
    experiment = Experiment(
        path.parent.resolve().name, name.rstrip("/"), stages=stages, ablations=ablations, **values
    )
    schema.check_names(path, experiment.methods, experiment.every_stage(), stages, ablations)
    return experiment


class _Pieces:
    """Puts stages together out of their entries; `common` is what the experiment says of all of them."""

    def __init__(self, path: Path, folders: tuple[Path, ...], common: dict[str, Any]):
        self._path, self._folders, self._common = path, folders, common

    def stages(self, entries: dict[str, dict[str, Any]], known: dict[str, Stage]) -> dict[str, Stage]:
        """Stages in the order of the file; an entry may be `like` one before it."""
        made: dict[str, Stage] = {}
        for name, entry in entries.items():
            made[name] = self._stage(name, entry or {}, known | made)
        return made

    def _stage(self, name: str, entry: dict[str, Any], known: dict[str, Stage]) -> Stage:
        like = entry.get("like")
        if like is not None and like not in known:
            raise UserError(f"{self._path}: {name} is like {like!r}, which is no stage before it")
        start = known[like] if like else Stage(self._common, {})
        settings = start.settings
        pieces = entry.get("config", [])
        for piece in [pieces] if isinstance(pieces, str) else pieces:
            settings = merge(settings, read_config(self._piece(piece)))
        takes = start.takes | {key: entry[key] for key in schema.WIRES if key in entry}
        return Stage(
            merge(settings, entry.get("set") or {}),
            {key: source for key, source in takes.items() if source is not None},
            bool(entry.get("by_hand", False)),
        )

    def _piece(self, name: str) -> Path:
        file = name if name.endswith(".yaml") else f"{name}.yaml"
        return find_file(file, (*self._folders, experiments_root() / "_shared"), self._path)


def started_from(experiment: Experiment, mae: Path) -> Experiment:
    """Without its pre-training: stages that took its checkpoint take `mae`; methods that need it are left out.

    Raises `UserError` when the file is missing or the experiment has no pre-training to replace.
    """
    if not file_of(mae).is_file():
        raise UserError(f"--mae {mae} does not exist")
    if PRETRAIN not in experiment.stages:
        raise UserError(f"--mae: {experiment.name} has no stage {PRETRAIN!r} to replace")
    return dataclasses.replace(
        experiment,
        mae=mae if is_shipped(mae) else mae.resolve(),
        stages={name: stage for name, stage in experiment.stages.items() if name != PRETRAIN},
        methods={
            name: method for name, method in experiment.methods.items() if PRETRAIN not in stages_of(method)
        },
    )
