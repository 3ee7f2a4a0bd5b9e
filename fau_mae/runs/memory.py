"""Whether a run's folder may be gone on with: its stages were trained as they would be trained now."""

import json
from pathlib import Path
from typing import Any

from data_modules.errors import UserError
from fau_mae.run_folder import RunMemory, read_memory
from fau_mae.runs.config_files import flat
from fau_mae.runs.experiment import PRETRAIN, Experiment
from fau_mae.runs.overrides import effective

# How a training is carried out, not what comes of it.
_MEANS = ("data.num_workers", "trainer.accelerator", "trainer.enable_progress_bar", "checkpoint_minutes")


def training_of(experiment: Experiment, store: Path | None) -> dict[str, Any]:
    """What decides the weights of the stages; where raw files lie does not."""
    stages = {}
    for name, stage in experiment.every_stage().items():
        takes = dict(stage.takes)
        if experiment.mae is not None:
            takes = {key: str(experiment.mae) if v == PRETRAIN else v for key, v in takes.items()}
        stages[name] = {"takes": takes, "settings": effective(stage)}
    prepare = {key: value for key, value in experiment.prepare.items() if key != "root"}
    values = {"prepare": prepare, "store": str(store) if store else None, "stages": stages}
    return json.loads(json.dumps(values, default=str))


def tested_of(experiment: Experiment) -> dict[str, Any]:
    """What decides the tables beside the weights."""
    return json.loads(json.dumps({"ladder": experiment.ladder, "methods": experiment.methods}))


def remembered(out: Path, experiment: Experiment, training: dict[str, Any]) -> RunMemory | None:
    """`run.json` of `out`, None where there is none.

    A stage that has not begun may have other settings than before; ladder and methods may change at any time.

    Raises:
        UserError: an older version's folder, another experiment's, or a stage that was trained otherwise: says what
            differs.
    """
    memory = read_memory(out)
    if memory is None:
        return None
    if memory.is_older:
        raise UserError(
            f"{out} was made by an older version of fau-mae, whose stages this one does not go on with: use another "
            "--out (report and results still read it, once it is finished)"
        )
    if memory.name != experiment.name:
        raise UserError(
            f"{out} holds the experiment {memory.name!r}, not {experiment.name!r}: use another --out"
        )
    if not memory.training:
        raise UserError(f"{out / 'run.json'} does not say how its stages were trained: use another --out")
    if changed := _changes(out, memory.training, training):
        raise UserError(
            f"{out} was made with {'; '.join(changed[:3])}{' …' if len(changed) > 3 else ''}: use another --out, or "
            "delete that folder"
        )
    return memory


def _changes(out: Path, before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """`KEY OLD (now NEW)` for all that differs in what there is already."""
    begun = [name for name in now["stages"] if any(out.glob(f"fold*-seed*/{name}/*"))]
    changed = []
    if begun or (out / "store" / "store.json").is_file():
        changed += _differences("prepare.", before["prepare"], now["prepare"])
        changed += _differences("", {"store": before["store"]}, {"store": now["store"]})
    for name in begun:
        if name in before["stages"]:
            changed += _differences(
                f"{name}.", before["stages"][name]["settings"], now["stages"][name]["settings"]
            )
            changed += _differences(f"{name}.", before["stages"][name]["takes"], now["stages"][name]["takes"])
    return changed


def _differences(where: str, before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    old, new = flat(before), flat(now)
    return [
        f"{where}{key} {old.get(key)!r} (now {new.get(key)!r})"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key) and key not in _MEANS
    ]
