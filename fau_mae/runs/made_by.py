"""Which predictions of a fold still fit what is asked for now; those that do not are taken away.

`predictions/made-by.json` says how the predictions beside it were made: fill, ladder, and per method its stages and
the trainings they came from. The ladder is not the training: another rung or method costs its own predictions alone.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data_modules.files import read_json, write_json
from fau_mae.runs.experiment import Experiment, stages_of

SPLITS = ("validation", "test")


def keep_what_fits(folder: Path, experiment: Experiment) -> None:
    """Remove what another ladder, fill, method or training left in `folder`, and note down what it is made by now."""
    place = folder / "predictions"
    note = place / "made-by.json"
    now = _made_by(folder, experiment)
    before = read_json(note) if note.is_file() else {}
    if before == now:
        return
    if place.is_dir():
        _remove(place, before, now)
    write_json(note, now)


def is_made(folder: Path, experiment: Experiment) -> bool:
    """Whether the predictions of a fold are those that are asked for, all of them: example faces are written last."""
    note, last = folder / "predictions" / "made-by.json", folder / "predictions" / "test" / "examples.parquet"
    return last.is_file() and note.is_file() and read_json(note) == _made_by(folder, experiment)


def _made_by(folder: Path, experiment: Experiment) -> dict[str, Any]:
    ladder = experiment.ladder
    rungs = [f"{kind}-{severity:.2f}" for kind in ladder["kinds"] for severity in ladder["severities"]]
    methods = {
        name: {**method, "trained": _trainings(folder, stages_of(method))}
        for name, method in experiment.every_method().items()
    }
    detector = ladder.get("detector")
    values = {
        "fill": ladder["fill"],
        "rungs": rungs,
        "detector": [detector, *_trainings(folder, [detector])] if detector else None,
        "methods": methods,
    }
    return json.loads(json.dumps(values))


def _trainings(folder: Path, stages: Iterable[str]) -> list[str]:
    """What tells one training of a stage from another, which took another time: "" where there is none yet."""
    costs = [folder / stage / "cost.json" for stage in stages]
    return [hashlib.sha256(cost.read_bytes()).hexdigest()[:16] if cost.is_file() else "" for cost in costs]


def _remove(place: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Take away from `place` what `before` made and `now` would make otherwise, or not at all."""
    if before.get("fill") != now["fill"]:  # or nobody knows how they were made
        shutil.rmtree(place)
        return
    was, methods = before["methods"], now["methods"]
    other = {name for name in was.keys() | methods.keys() if was.get(name) != methods.get(name)}
    looks = "clean" if "clean" in methods else next(iter(methods))  # whose saliency hides
    for split in SPLITS:
        folder = place / split
        for cells in folder.glob("*-*/"):
            method, _, mask = cells.name.rpartition("-")
            if method in other or (mask == "blind" and before["detector"] != now["detector"]):
                shutil.rmtree(cells)
        for cell in folder.glob("*/*.parquet"):
            occluded = not cell.stem.startswith("none-")
            if occluded and (
                cell.stem not in now["rungs"] or (looks in other and cell.stem.startswith("saliency-"))
            ):
                cell.unlink()
    for name in ("examples.parquet", "mask_quality.parquet"):  # of all rungs and methods; soon made again
        (place / "test" / name).unlink(missing_ok=True)
