"""Which predictions of a fold still fit what is asked for now; those that do not are taken away.

Their note (see `fau_mae.evaluation.made_by`) says fill, ladder, faces, and per method its stages and the trainings they
came from. The ladder is not the training: another rung or method costs its own predictions alone.
"""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_modules.errors import UserError
from data_modules.files import reading, write_json
from fau_mae.evaluation.made_by import NOTE, faces_of, read_note, retrained
from fau_mae.evaluation.predictions import SPLITS, list_cells
from fau_mae.evaluation.scored_run import read_results, run_folders
from fau_mae.run_folder import read_metrics, training_id
from fau_mae.runs.experiment import Experiment, stages_of

if TYPE_CHECKING:  # a dry run loads no torch
    from data_modules.face_data import FaceDataModule


def keep_what_fits(folder: Path, experiment: Experiment, data: "FaceDataModule") -> None:
    """Remove what another ladder, fill, method, training or store left, and note down what is made by what now.

    Raises `UserError` where another command's predictions lie.
    """
    place = folder / "predictions"
    now = _made_by(folder, experiment) | {"faces": faces_of(data)}
    before = read_note(place) or {}
    if before == now:
        return
    if before and not {"methods", "rungs", "fill"} <= before.keys():
        raise UserError(f"{place} holds predictions of another command: move them elsewhere, or delete them")
    if place.is_dir():
        with reading(place / NOTE, f"delete {place}, then run the same command again"):
            _remove(place, before, now)
    write_json(place / NOTE, now)


def is_made(folder: Path, experiment: Experiment) -> bool:
    """Whether the predictions of a fold are those that are asked for, all of them: example faces are written last."""
    place = folder / "predictions"
    note = read_note(place) or {}
    known = {key: value for key, value in note.items() if key != "faces"}
    return (place / "test" / "examples.parquet").is_file() and known == _made_by(folder, experiment)


def stands(out: Path) -> bool:
    """Whether the tables of a run that was finished are there, and the predictions behind them those of its stages.

    Predictions may be gone as a whole. Raises `UserError` for a damaged table.
    """
    if not all((out / name).is_file() for name in ("results.parquet", "folds.csv", "metrics.json")):
        return False
    results = read_results(out)
    read_metrics(out)
    keys = ["fold", "seed", "method", "mask_source", "kind", "severity"]
    scored = set(results[keys].itertuples(index=False, name=None))
    for pair, folder in run_folders(out, results).items():
        if not (folder / "predictions").is_dir():
            continue
        if retrained(folder):
            return False
        for split in SPLITS:
            place = folder / "predictions" / split
            there = {(*pair, *cell[:4]) for cell in list_cells(place)}
            own = {key for key in scored if key[:2] == pair}
            if there != own or not (place / "labels.parquet").is_file():
                return False
    return True


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
        "detector": _trainings(folder, [detector]) if detector else None,
        "methods": methods,
    }
    return json.loads(json.dumps(values))


def _trainings(folder: Path, stages: Iterable[str]) -> dict[str, str]:
    """Stage -> what tells one training of it from another; "" where there is none yet."""
    return {stage: training_id(folder / stage) for stage in stages}


def _remove(place: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Take away from `place` what `before` made and `now` would make otherwise, or not at all."""
    others = ("fill", "faces")
    if any(before.get(key) != now[key] for key in others):  # or nobody knows how they were made
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
        if looks in other:
            (folder / "saliency.npz").unlink(missing_ok=True)
    for name in ("examples.parquet", "mask_quality.parquet"):  # of all rungs and methods; soon made again
        (place / "test" / name).unlink(missing_ok=True)
