"""An experiment: `experiment.yaml` of a built-in name or of a folder, and what the command line changes in it."""

import dataclasses
import difflib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from data_modules.errors import UserError
from fau_mae.runs.config_files import experiments_root, read_config

THRESHOLD_RULES = ("by_visibility", "clean", "fixed")
PRETRAIN = "pretrain"  # the stage that `--mae` replaces


@dataclass(frozen=True)
class Experiment:
    """An `experiment.yaml`, and the settings that `--set` gave its stages.

    `prepare`: source and options of the store. `stages`: in order; each names the stages whose last checkpoint it
    takes as an `init_args` value. `methods`: rows of the results, each made of one stage (and for `reconstruct` the
    autoencoder that fills in), or of a stage per severity, which is asked at that severity alone. `ladder`: kinds,
    severities and fill of the sweep, the rule of thresholds (see `scoring.Thresholds`) and the stage, if any, whose
    `detector` estimates masks. `ablations`: further stages in `ablations/`, each a row of its own, which are trained
    and swept where `ablate` says so. `mae`: weights from elsewhere that stand in for the pre-training stage.
    `options`: arguments of `fau-mae fit`, by stage.
    """

    name: str
    folder: Path
    prepare: dict[str, Any]
    folds: list[int]
    seeds: list[int]
    stages: dict[str, dict[str, str]]
    methods: dict[str, list[str] | dict[float, str]]
    ladder: dict[str, Any]
    ablations: dict[str, dict[str, str]] = field(default_factory=dict)
    ablate: bool = False
    mae: Path | None = None
    options: dict[str, list[str]] = field(default_factory=dict)

    def trained(self) -> dict[str, dict[str, str]]:
        """Stages that are to be trained, in order, and what each takes."""
        return self.stages | (self.ablations if self.ablate else {})

    def compared(self) -> dict[str, list[str] | dict[float, str]]:
        """Methods that are to be swept, and the stages that make each."""
        return self.methods | ({name: [name] for name in self.ablations} if self.ablate else {})

    def config(self, stage: str) -> Path:
        """The YAML of a stage."""
        return self.folder / ("ablations" if stage in self.ablations else "") / f"{stage}.yaml"

    def settings(self) -> dict[str, Any]:
        """What makes results comparable; where things lie and how much of it is run do not."""
        values = asdict(self)
        for key in ("folder", "folds", "seeds", "ablate"):
            del values[key]
        values["prepare"].pop("root", None)
        return values | {"mae": None if self.mae is None else str(self.mae)}


def load_experiment(name: str) -> Experiment:
    """A built-in experiment by name, or any folder that holds `experiment.yaml`. Raises `UserError` otherwise."""
    folder = Path(name) if (Path(name) / "experiment.yaml").is_file() else experiments_root() / name
    path = folder / "experiment.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.parent.name for p in experiments_root().glob("[!_]*/experiment.yaml")))
        raise UserError(f"no experiment {name!r}: use one of {known}, or a folder that holds experiment.yaml")
    values = read_config(path)
    keys = [f.name for f in dataclasses.fields(Experiment)][2:8]
    for key in values:
        if key not in (*keys, "ablations"):
            nearest = difflib.get_close_matches(key, keys, n=1, cutoff=0.0)[0]
            raise UserError(f"{path}: unknown setting {key!r}: did you mean {nearest!r}?")
    if missing := [key for key in keys if key not in values]:
        raise UserError(f"{path}: {missing[0]!r} is missing")
    values["ladder"].setdefault("thresholds", "by_visibility")
    return Experiment(name=folder.resolve().name, folder=folder, **values)


def with_overrides(experiment: Experiment, overrides: list[str]) -> Experiment:
    """`--set` values: prepare.KEY and ladder.KEY change the experiment, STAGE.KEY one stage, any other KEY all."""
    sections = {"prepare": dict(experiment.prepare), "ladder": dict(experiment.ladder)}
    options: dict[str, list[str]] = {stage: [] for stage in (*experiment.stages, *experiment.ablations)}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set {text}: write KEY=VALUE, such as trainer.max_epochs=1")
        head, _, rest = key.partition(".")
        if head in sections:
            if rest not in sections[head]:
                raise UserError(f"--set {text}: {head} has {', '.join(sections[head])}, not {rest!r}")
            sections[head][rest] = yaml.safe_load(value)
        elif head in options:
            options[head].append(f"--{rest}={value}")
        else:
            for lines in options.values():
                lines.append(f"--{key}={value}")
    if (rule := sections["ladder"]["thresholds"]) not in THRESHOLD_RULES:
        raise UserError(f"ladder.thresholds is {rule!r}: use one of {', '.join(THRESHOLD_RULES)}")
    alone = [name for name, made in experiment.methods.items() if isinstance(made, dict)]
    if rule == "clean" and alone:
        raise UserError(
            f"ladder.thresholds is 'clean', but {alone[0]} sees no clean faces: use by_visibility or fixed"
        )
    return dataclasses.replace(
        experiment, prepare=sections["prepare"], ladder=sections["ladder"], options=options
    )


def started_from(experiment: Experiment, mae: Path) -> Experiment:
    """Without its pre-training: stages that took its checkpoint take `mae`; methods that need it are left out.

    Raises `UserError` when the file is missing or the experiment has no pre-training to replace.
    """
    if not mae.is_file():
        raise UserError(f"--mae {mae} does not exist")
    if PRETRAIN not in experiment.stages:
        raise UserError(f"--mae: {experiment.name} has no stage {PRETRAIN!r} to replace")
    return dataclasses.replace(
        experiment,
        mae=mae.resolve(),
        stages={name: takes for name, takes in experiment.stages.items() if name != PRETRAIN},
        methods={name: made for name, made in experiment.methods.items() if PRETRAIN not in made},
        options={name: lines for name, lines in experiment.options.items() if name != PRETRAIN},
    )
