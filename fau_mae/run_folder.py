"""Where things lie in a run's folder, and `run.json`, in which a run keeps what it was asked for.

<run>/fold<k>-seed<s>/<stage>/{config.yaml, checkpoints/{best,last}.ckpt, metrics.csv, cost.json, finished}
<run>/fold<k>-seed<s>/predictions/…
<run>/fold<k>-seed<s>/targets/…     what the teacher told, while more than one student of a run is trained
<run>/run.json
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data_modules.errors import UserError
from data_modules.files import read_json, write_json

FINISHED = "finished"  # a stage folder holds a file of this name once its training is complete
LAST = "last.ckpt"
FORMAT = 2  # of run.json


def fold_name(fold: int, seed: int) -> str:
    return f"fold{fold}-seed{seed}"


def fold_folder(run: Path, fold: int, seed: int) -> Path:
    return run / fold_name(fold, seed)


def last_checkpoint(stage: Path) -> Path:
    """What a stage resumes from, and what the stages after it take."""
    return stage / "checkpoints" / LAST


def targets_folder(run: Path, fold: int, seed: int) -> Path:
    """Where students of one teacher keep its answers for each other."""
    return fold_folder(run, fold, seed) / "targets"


@dataclass(frozen=True)
class RunMemory:
    """`run.json`: what the run was asked for, what its stages were trained with, what its tables sum up.

    `name`: the experiment's. `given`: the command line as it was typed: experiment, store, root, mae, folds, seeds,
    set, ablate; {} where an older version wrote the file. `training`: what decides a stage's weights (`prepare`,
    `store` and per stage its settings and what it takes). `tested`: ladder and methods. `ablations`: names of all.
    `done`: [fold, seed] pairs of the tables, none while something is to do; `ablated`: ablations in them.
    """

    name: str
    given: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    tested: dict[str, Any] = field(default_factory=dict)
    ablations: list[str] = field(default_factory=list)
    done: list[list[int]] = field(default_factory=list)
    ablated: list[str] = field(default_factory=list)

    @property
    def is_older(self) -> bool:
        """Whether a version wrote it that kept other things: enough for tables and pages, not to go on from."""
        return not self.given


def write_memory(run: Path, memory: RunMemory) -> None:
    """Keep `memory` in the run's folder."""
    write_json(run / "run.json", {"format": FORMAT, **asdict(memory)})


def read_memory(run: Path) -> RunMemory | None:
    """`run.json` of a run's folder, None where there is none. Raises `UserError` for one that cannot be read."""
    path = run / "run.json"
    if not path.is_file():
        return None
    try:
        values = read_json(path)
        if "settings" in values:  # before format 2
            settings, done = values["settings"], values.get("done") or []
            ablations = sorted(settings.get("ablations") or {})
            return RunMemory(settings["name"], ablations=ablations, done=done)
        if values.pop("format") != FORMAT:
            raise UserError(
                f"{path} was written by a newer version of fau-mae: use that one, or another --out"
            )
        return RunMemory(**values)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path} is damaged ({type(error).__name__}): put a copy back, or take another --out"
        ) from error
