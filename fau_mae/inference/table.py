"""Rows of `aus.csv`, one per face.

Columns: file, frame (0 for a picture, counted from 1 in a video), face (counted from 1, largest first), track (the
face's number through a video, empty in a picture), x0, y0, x1, y1 in pixels, score of the face finder, hidden (share
of the face that is, empty where nobody has looked); then per AU its probability (`AU12`), `AU12_present` (1 or 0;
empty where half of the AU's region or more is hidden: it is not guessed) and `AU12_observable` (the chance that this
is right; 0 where it is hidden, empty where the weights do not know). A frame without a face has one row with face 0
and empty cells.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_modules.faces.alignment import Face
from data_modules.facs import au_name
from fau_mae.inference.predictor import Reading


def header(aus: Sequence[int]) -> list[str]:
    """The names of the columns."""
    names = map(au_name, aus)
    columns = [column for name in names for column in (name, f"{name}_present", f"{name}_observable")]
    return ["file", "frame", "face", "track", "x0", "y0", "x1", "y1", "score", "hidden", *columns]


def rows(file: Path, frame: int, faces: Sequence[Face], reading: Reading) -> list[list[object]]:
    """The rows of one frame, whose faces were read so."""
    if not faces:
        return [[file, frame, 0, *[""] * (7 + 3 * reading.probabilities.shape[1])]]
    found: list[list[object]] = []
    for number, face in enumerate(faces):
        hidden = "" if reading.visible is None else f"{1 - reading.visible[number].mean():.3f}"
        row: list[object] = [
            file,
            frame,
            number + 1,
            face.track or "",
            *(f"{value:.1f}" for value in face.box),
            f"{face.score:.4f}",
            hidden,
        ]
        said = zip(reading.probabilities[number], reading.present[number], reading.observable[number])
        for probability, present, observable in said:
            row += [f"{probability:.4f}", _cell(present, 0), _cell(observable, 3)]
        found.append(row)
    return found


def _cell(value: float, digits: int) -> str:
    """Empty where the value is not known."""
    return "" if np.isnan(value) else f"{value:.{digits}f}"
