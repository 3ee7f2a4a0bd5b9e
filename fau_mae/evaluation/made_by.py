"""What predictions were made by: a note beside them, so that those of two checkpoints are never scored as one's.

`predictions/made-by.json` names what decides a prediction: weights, faces, fill, ladder. Who writes predictions claims
their folder first; who scores them sees whether the stages behind them are still those.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_modules.errors import UserError
from data_modules.files import read_json, reading, write_json
from data_modules.occlusion.spec import PROTOCOL_VERSION
from fau_mae.evaluation.predictions import SPLITS
from fau_mae.run_folder import training_id

if TYPE_CHECKING:  # a report loads no torch
    from torch import nn

    from data_modules.face_data import FaceDataModule

NOTE = "made-by.json"
_BYTES = 8  # of a digest: as hexadecimal short enough for a line


def claim(out: Path, made_by: Mapping[str, Any]) -> None:
    """Note down what the predictions of the folder `out` are made by; raises as `refuse_others`.

    Args:
        made_by: whose key `command` names the command, and the others what decides what it makes.
    """
    refuse_others(out, made_by)
    write_json(out / "predictions" / NOTE, dict(made_by))


def refuse_others(out: Path, made_by: Mapping[str, Any]) -> None:
    """Raise `UserError`, naming what differs, where `out` holds predictions that something else made."""
    place = out / "predictions"
    before = read_note(place)
    if before is None and any(place.glob("*/*.parquet")):
        raise UserError(f"{out} holds predictions that do not say what made them: {_elsewhere(place)}")
    if before is not None and (differs := _differences(before, made_by)):
        raise UserError(f"{out} holds other predictions, made with {'; '.join(differs)}: {_elsewhere(place)}")


def _elsewhere(place: Path) -> str:
    return f"use another --out, or delete {place}"


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    if before.get("command") != now["command"]:
        return [f"`fau-mae {before.get('command', 'run')}`"]
    keys = [key for key in dict.fromkeys([*now, *before]) if before.get(key) != now.get(key)]
    return [f"{key} {_shown(before.get(key))} (now {_shown(now.get(key))})" for key in keys]


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else "none" if value is None else str(value)


def read_note(place: Path) -> dict[str, Any] | None:
    """What the predictions in the folder `place` are made by; None where nothing is said. `UserError` if damaged."""
    path = place / NOTE
    if not path.exists():
        return None
    cure = f"delete {place}, then run the command that made it again"
    note = read_json(path, cure)
    with reading(path, cure):
        if not isinstance(note, dict) or not note:
            raise ValueError("it names nothing")
    return note


def faces_of(data: "FaceDataModule") -> dict[str, Any]:
    """What tells the faces of a ladder from others: store, people, size, grid, masks' protocol."""
    ids = [data.store.column("sample_id")[getattr(data.split, split)] for split in SPLITS]
    store = digest(data.store.fingerprint.encode())
    return {
        "store": f"{data.store.info.dataset} {store}",
        "people": f"fold {data.fold}, {sum(map(len, ids))} faces, {digest(*(np.sort(i).tobytes() for i in ids))}",
        "image size": data.image_size,
        "grid": data.grid,
        "protocol": PROTOCOL_VERSION,
    }


def weights_id(model: "nn.Module") -> str:
    """A short digest of a model's weights, the same whatever file they came in."""
    state = model.state_dict()
    return digest(*(part for name in sorted(state) for part in (name.encode(), _bytes(state[name]))))


def _bytes(value: Any) -> bytes:
    return value.detach().cpu().numpy().tobytes()


def digest(*parts: bytes) -> str:
    """BLAKE2b, short, in hexadecimal."""
    total = hashlib.blake2b(digest_size=_BYTES)
    for part in parts:
        total.update(part)
    return total.hexdigest()


def retrained(folder: Path) -> str | None:
    """A stage of a run's fold that was trained again after its predictions were made, None where there is none."""
    note = read_note(folder / "predictions") or {}
    with reading(folder / "predictions" / NOTE):
        trained = {
            stage: known
            for method in note.get("methods", {}).values()
            if isinstance(method.get("trained"), dict)  # older versions kept less
            for stage, known in method["trained"].items()
        }
        detector = note.get("detector")
        trained |= detector if isinstance(detector, dict) else {}
    for stage, known in trained.items():
        now = training_id(folder / stage)
        if now and known and now != known:
            return stage
    return None


def refuse_retrained(folder: Path) -> None:
    """Raise `UserError` where the predictions of a run's fold are not those of its stages."""
    if (stage := retrained(folder)) is not None:
        raise UserError(
            f"{folder / stage} was trained again after its predictions were made: let the same `fau-mae run` make "
            f"them anew, or delete {folder / 'predictions'}"
        )
