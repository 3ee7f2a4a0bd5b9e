"""Columns of a label table that speak of action units: which AU, presence or intensity, which side of the face.

Read in any case and with any zero padding: `AU1`, `au_01`, `AU12_c` (presence, as OpenFace has it), `AU12_r`,
`AU12_intensity`, `AU12L`, `AU12_left_intensity`. What looks like an AU and is none of these is refused by name.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from data_modules.errors import UserError
from data_modules.facs import AUS, au_name

_LOOKS_LIKE_AU = re.compile(r"\s*(?:au|action[ _-]?unit)s?[ _-]?\d.*", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(
    r"(?:au|action[ _-]?unit)[ _-]?0*(?P<number>[1-9][0-9]?)"
    r"(?:[ _-]?(?P<side>l|r|left|right)(?=$|[ _-]))?"
    r"(?:[ _-](?P<meaning>[a-z]+))?",
    re.IGNORECASE,
)
_CERTAIN = 2  # an intensity from which an AU counts as present whoever codes: FACS takes 1, DISFA's users 2
_PRESENCE = {"c", "class", "presence", "present", "occurrence", "occ", "binary", "label"}
_INTENSITY = {"r", "intensity", "int"}


class AUColumn(NamedTuple):
    """What a column holds. `side`: "left", "right", or "" for the whole face."""

    number: int
    intensity: bool
    side: str


def parse_au_column(name: str) -> AUColumn | None:
    """`"au_01_r"` -> AU 1, intensity; None for a column of something else.

    Raises `UserError` for one that looks like an AU and cannot be read, or could mean two things.
    """
    name = name.strip()
    if name.isdecimal() and int(name) in AUS:
        raise UserError(f"column {name!r} may be an action unit: name it AU{int(name)}, or leave it out")
    if not _LOOKS_LIKE_AU.fullmatch(name):
        return None
    if re.search(r"[ _-]R$", name):
        raise UserError(
            f"column {name!r} may be an intensity or the right side: name it …_intensity or …_right"
        )
    openface = re.fullmatch(r"(.*\d)[ _-]r", name)  # a small r after a line is a regression, not a side
    match = _NAME.fullmatch(f"{openface.group(1)}_intensity" if openface else name)
    meaning = (match.group("meaning") or "presence").lower() if match else ""
    if match is None or meaning not in _PRESENCE | _INTENSITY:
        raise UserError(
            f"column {name!r} looks like an action unit and is none that can be read: name it AU12, "
            "AU12_intensity, AU12_left …, or leave it out"
        )
    side = {"l": "left", "r": "right"}.get(*[(match.group("side") or "").lower()] * 2)
    return AUColumn(int(match.group("number")), meaning in _INTENSITY, str(side))


def read_au_columns(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Text cells of a table -> columns `AU12` (1, 0, NaN) and `AU12_intensity` (0-5, NaN), AUs in order.

    An AU that is coded by side is present where either side shows it, absent where both are; its intensity is
    the greater one. Raises `UserError` for a column given twice, and with its line for a cell out of range and for a
    presence that the intensity contradicts.
    """
    known: dict[AUColumn, str] = {}
    for name in map(str, table.columns):
        try:
            column = parse_au_column(name)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        if column is None:
            continue
        if column in known:
            raise UserError(
                f"{path}: columns {known[column]!r} and {name!r} are both {_say(column)}: keep one"
            )
        known[column] = name
    cells = {column: _numbers(table[name], path, name, column.intensity) for column, name in known.items()}
    read: dict[str, np.ndarray] = {}
    for number, intensity in sorted({(column.number, column.intensity) for column in cells}):
        sides = {c.side: values for c, values in cells.items() if c[:2] == (number, intensity)}
        if "" in sides and len(sides) > 1:
            raise UserError(f"{path}: {au_name(number)} is given for the whole face and by side: keep one")
        read[au_name(number) + "_intensity" * intensity] = _either(list(sides.values()))
    _refuse_contradictions(read, path)
    return pd.DataFrame(read, index=table.index)


def _refuse_contradictions(read: dict[str, np.ndarray], path: Path) -> None:
    """An AU of intensity 0 is not present; one that is absent has less than the 2 from which every data set has it."""
    for name in [name for name in read if f"{name}_intensity" in read]:
        present, intensity = read[name], read[f"{name}_intensity"]
        wrong = ((present == 1) & (intensity == 0)) | ((present == 0) & (intensity >= _CERTAIN))
        if wrong.any():
            row = int(wrong.argmax())
            raise UserError(
                f"{path} line {row + 2}: {name} is {present[row]:.0f} and its intensity {intensity[row]:g} "
                f"({wrong.sum()} such rows in all): mend them, or leave out one of the two columns"
            )


def numbers_of(columns: Sequence[str]) -> tuple[int, ...]:
    """The AUs of the columns that `read_au_columns` made, each once."""
    return tuple(sorted({int(name.removesuffix("_intensity")[2:]) for name in columns}))


def _either(sides: list[np.ndarray]) -> np.ndarray:
    """The greater of both sides; unknown where one is, unless the other is present."""
    values = np.stack(sides)  # (sides, rows)
    known = np.where(np.isnan(values), -1, values).max(0)
    unsure = np.isnan(values).any(0) & (known <= 0)
    return np.where(unsure, np.nan, known)


def _numbers(cells: pd.Series, path: Path, name: str, intensity: bool) -> np.ndarray:
    """Text -> float64 (rows,), NaN where empty."""
    text = cells.str.strip()
    values = pd.to_numeric(text.where(~text.isin(["", "NA", "nan", "NaN"]), None), errors="coerce")
    stray = values.isna() & ~text.isin(["", "NA", "nan", "NaN"])
    wrong = stray | (values.notna() & ~(values.between(0, 5) if intensity else values.isin([0, 1])))
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        expected = "0 to 5 or empty" if intensity else "0, 1 or empty"
        raise UserError(f"{path} line {row + 2}: {name} is {cells.iloc[row]!r}, expected {expected}")
    return values.to_numpy(float)


def _say(column: AUColumn) -> str:
    side = f", {column.side} side" if column.side else ""
    return au_name(column.number) + (" intensity" if column.intensity else "") + side
