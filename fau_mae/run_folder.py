"""Where things lie in a run's folder, and `run.json`, in which a run keeps what it was asked for.

<run>/fold<k>-seed<s>/<stage>/{config.yaml, checkpoints/{best,last}.ckpt, metrics.csv, cost.json, finished}
<run>/fold<k>-seed<s>/predictions/…
<run>/fold<k>-seed<s>/targets/…     what the teacher told, while more than one student of a run is trained
<run>/run.json
"""

import hashlib
import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_modules.errors import UserError
from data_modules.files import (
    ANEW,
    check_columns,
    file_hash,
    read_json,
    read_text,
    read_yaml,
    reading,
    write_json,
    write_text,
)

if TYPE_CHECKING:
    import pandas as pd

# A stage folder holds a file of this name once its training is complete; in it, a digest of `last.ckpt`, and a line
# `takes STAGE ID` for each stage beside it whose weights it was given, ID its `training_id` then.
FINISHED = "finished"
LAST = "last.ckpt"
FORMAT = 2  # of run.json
# Keys of `given` and what they hold; None: whatever was given, or nothing.
_GIVEN: dict[str, type | None] = {
    "experiment": str, "set": list, "ablate": bool,
    "store": None, "root": None, "mae": None, "folds": None, "seeds": None,
}  # fmt: skip


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


def trained_with(stage: Path) -> dict[str, Any]:
    """The data settings that a stage was trained with. Raises `UserError` for a damaged `config.yaml`."""
    path = stage / "config.yaml"
    values = read_yaml(path)
    with reading(path, f"put a copy back, or delete {stage} to train that stage again"):
        if not isinstance(data := values["data"], dict) or not isinstance(data["store"], str):
            raise ValueError("its data settings name no store")
    return data


def read_logged(path: Path, cure: str) -> "pd.DataFrame":
    """What a training has logged, `metrics.csv`: `step` and its metrics; no rows where there is nothing yet.

    A last line that a kill cut short is left out. Raises `UserError` with `cure` for a damaged file.
    """
    import pandas as pd

    nothing = pd.DataFrame({"step": []})
    if not path.exists():
        return nothing
    with reading(path, cure):
        text = read_text(path)
        lines = text[: text.rfind("\n") + 1]
        if not text:
            return nothing
        table = pd.read_csv(io.StringIO(lines))
        if "step" not in table:
            raise KeyError("step")
        if len(table):
            check_columns(table, numbers=["step"])
        return table


def read_metrics(run: Path) -> dict[str, float]:
    """Scores of a run on validation people, `metrics.json`; empty where there are none yet."""
    path = run / "metrics.json"
    if not path.exists():
        return {}
    metrics = read_json(path, ANEW)
    with reading(path):
        if not isinstance(metrics, dict) or not all(type(v) in (int, float) for v in metrics.values()):
            raise ValueError("it is no mapping of numbers")
    return metrics


def mark_finished(stage: Path, given: Iterable[Path] = ()) -> None:
    """Say that the training of a stage is complete, which weights came of it, and of which it was `given`."""
    last = last_checkpoint(stage)
    lines = [file_hash(last) if last.is_file() else ""]  # sharded ones are folders
    for checkpoint in given:
        source = checkpoint.absolute().parent.parent
        if source.parent == stage.absolute().parent and (known := training_id(source)):
            lines.append(f"takes {source.name} {known}")
    write_text(stage / FINISHED, "\n".join(dict.fromkeys(lines)))


def taken_by(stage: Path) -> dict[str, str]:
    """Stages whose weights a finished one was given -> their `training_id` then; those of older versions say none."""
    lines = read_text(stage / FINISHED).splitlines()
    words = [line.split() for line in lines[1:]]
    return {parts[1]: parts[2] for parts in words if len(parts) == 3 and parts[0] == "takes"}


def training_id(stage: Path) -> str:
    """What tells one training of a stage from another; "" where none is complete."""
    finished, cost = stage / FINISHED, stage / "cost.json"
    if not finished.is_file():
        return ""
    if said := finished.read_bytes().partition(b"\n")[0].strip():
        return said[:16].decode("ascii", "replace")
    # Older versions left that file empty; the time that a training took is never the same.
    return hashlib.sha256(cost.read_bytes()).hexdigest()[:16] if cost.is_file() else ""


@dataclass(frozen=True)
class RunMemory:
    """`run.json`: what the run was asked for, what its stages were trained with, what its tables sum up.

    `name`: the experiment's. `given`: the command line as it was typed: experiment, store, root, mae, folds, seeds,
    set, ablate; {} where an older version wrote the file. `training`: what decides a stage's weights (`prepare`,
    `store` and per stage its settings and what it takes). `tested`: ladder and methods. `ablations`: names of all.
    `done`: [fold, seed] pairs of the tables, none while something is to do; `ablated`: ablations in them. `label`: what
    the run was named by `--name`, "" where its folder names it.
    """

    name: str
    given: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    tested: dict[str, Any] = field(default_factory=dict)
    ablations: list[str] = field(default_factory=list)
    done: list[list[int]] = field(default_factory=list)
    ablated: list[str] = field(default_factory=list)
    label: str = ""

    @property
    def is_older(self) -> bool:
        """Whether a version wrote it that kept other things: enough for tables and pages, not to go on from."""
        return not self.given


def name_of(run: Path, label: str = "") -> str:
    """What a run is called in W&B, on the dashboard and in reports: its label, or its folder's name."""
    return label or Path(os.path.realpath(run)).name


def write_memory(run: Path, memory: RunMemory) -> None:
    """Keep `memory` in the run's folder."""
    write_json(run / "run.json", {"format": FORMAT, **asdict(memory)})


def read_memory(run: Path) -> RunMemory | None:
    """`run.json` of a run's folder, None where there is none. Raises `UserError` for one that cannot be read."""
    path = run / "run.json"
    if not path.exists():
        return None
    cure = "put a copy back, or take another --out"
    values = read_json(path, cure)
    with reading(path, cure):
        if "settings" in values:  # before format 2
            settings, done = values["settings"], values.get("done") or []
            ablations = sorted(settings.get("ablations") or {})
            return _checked(RunMemory(settings["name"], ablations=ablations, done=done))
        if values.pop("format") != FORMAT:
            raise UserError(
                f"{path} was written by a newer version of fau-mae: use that one, or another --out"
            )
        return _checked(RunMemory(**values))


def _checked(memory: RunMemory) -> RunMemory:
    """Raises `ValueError` for values that no run writes."""
    if not isinstance(memory.name, str):
        raise ValueError(f"name is {memory.name!r}")
    if not isinstance(memory.label, str):
        raise ValueError(f"label is {memory.label!r}")
    if not isinstance(memory.tested, dict):
        raise ValueError("tested is no mapping")
    for key in ("ablations", "ablated"):
        if not isinstance(names := getattr(memory, key), list) or not all(isinstance(n, str) for n in names):
            raise ValueError(f"{key} is no list of names")
    if not isinstance(memory.done, list) or not all(map(_is_pair, memory.done)):
        raise ValueError("done is no list of [fold, seed]")
    _check_keys("given", memory.given, _GIVEN)
    _check_keys("training", memory.training, {"prepare": dict, "stages": dict, "store": None})
    for name, stage in memory.training.get("stages", {}).items():
        _check_keys(f"training.stages.{name}", stage, {"settings": dict, "takes": dict})
    return memory


def _check_keys(where: str, values: Any, wanted: Mapping[str, type | None]) -> None:
    """An empty mapping is one that an older version left out."""
    if not isinstance(values, dict):
        raise ValueError(f"{where} is no mapping")
    for key, kind in wanted.items() if values else ():
        if key not in values:
            raise KeyError(f"{where}.{key}")
        if kind is not None and not isinstance(values[key], kind):
            raise ValueError(f"{where}.{key} is {values[key]!r}")


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(number) is int for number in value)
