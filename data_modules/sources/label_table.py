"""A table of AU labels for pictures and frames of videos: read, and checked down to the line."""

import csv
import io
import os
import re
import unicodedata
from pathlib import Path

import pandas as pd

from data_modules import files
from data_modules.errors import UserError
from data_modules.faces.video import VIDEOS
from data_modules.sources.au_columns import read_au_columns

EVERY_FRAME = -1
_LAST_FRAME = 2**31 - 1


def read_table(path: Path, root: Path) -> pd.DataFrame:
    """CSV or Parquet -> columns file, subject, frame (`EVERY_FRAME` if none), fold if any, and the AUs.

    Raises `UserError` for what is missing, ambiguous, given twice or out of range, with its line.
    """
    cells = _read_cells(path)
    if "file" not in cells:
        raise UserError(f"{path} has no column named file")
    aus = read_au_columns(cells, path)
    if not len(aus.columns):
        raise UserError(f"{path} has no AU column: name them AU1, AU2, …")
    if cells.empty:
        raise UserError(f"{path} has a header and no rows")
    table = pd.DataFrame({"file": [_inside(root, file, path, n) for n, file in _lines(cells["file"])]})
    table["frame"] = (
        [_frame(cell, path, n) for n, cell in _lines(cells["frame"])] if "frame" in cells else EVERY_FRAME
    )
    if "subject" in cells:
        table["subject"] = [_person(cell, path, n) for n, cell in _lines(cells["subject"])]
    else:
        table["subject"] = [subject_of(file) for file in table["file"]]
    if "fold" in cells:
        table["fold"] = [_fold(cell, path, n) for n, cell in _lines(cells["fold"])]
    _refuse_twice(table, path, root)
    return pd.concat([table, aus], axis=1)


def subject_of(file: str) -> str:
    """Its folder for a picture, itself for a video."""
    path = Path(file)
    return file if path.suffix.lower() in VIDEOS else path.parent.as_posix()


def _read_cells(path: Path) -> pd.DataFrame:
    """All cells as text, empty ones as ""; nothing is a gap by its spelling, for `NA` may be a person."""
    if not path.is_file():
        raise UserError(f"label table {path} does not exist")
    try:
        if path.suffix.lower() == ".parquet":
            table = pd.read_parquet(path)
            rows = [list(map(str, table.columns))]
            rows += [list(map(_text, row)) for row in table.itertuples(index=False)]
        else:
            rows = list(csv.reader(io.StringIO(files.read_text(path), newline="")))
    except (ValueError, OSError, csv.Error) as error:
        raise UserError(f"{path} is not a table that can be read: {str(error).splitlines()[0]}") from None
    while rows and not any(map(str.strip, rows[-1])):
        rows.pop()
    if not rows:
        raise UserError(f"{path} is empty: it is not a table that can be read")
    header = [name.strip() for name in rows[0]]
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise UserError(
                f"{path} line {number}: {len(row)} cells, expected {len(header)} as in the header"
            )
    lower = [name.lower() for name in header]
    for name in ("file", "frame", "subject", "fold"):
        if lower.count(name) > 1:
            raise UserError(f"{path} has two columns named {name}: keep one")
    named = [low if low in ("file", "frame", "subject", "fold") else name for low, name in zip(lower, header)]
    if twice := [name for place, name in enumerate(named) if name and name in named[:place]]:
        raise UserError(f"{path} has two columns named {twice[0]}: keep one")
    return pd.DataFrame(rows[1:], columns=named, dtype=str)


def _text(value: object) -> str:
    if value is None or value != value or value is pd.NaT or value is pd.NA:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, bytes):
        return os.fsdecode(value)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _lines(column: pd.Series) -> list[tuple[int, str]]:
    """Line of the file and cell."""
    return list(enumerate(column, 2))


def _inside(root: Path, file: str, table: Path, line: int) -> str:
    """The path in canonical form. Links below the root may point elsewhere; `..` may not leave it."""
    path = Path(file.strip().replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in file:
        raise UserError(f"{table} line {line}: {file!r} is not a path below {root}")
    return path.as_posix()


def _frame(cell: str, path: Path, line: int) -> int:
    """A whole number from 1 that a store holds, `3.0` too; an empty cell stands for every frame."""
    if not (text := cell.strip()):
        return EVERY_FRAME
    if not re.fullmatch(r"[0-9]{1,10}(\.0*)?", text) or not 1 <= int(text.split(".")[0]) <= _LAST_FRAME:
        raise UserError(f"{path} line {line}: frame {cell[:40]!r}: frames are whole numbers and count from 1")
    return int(text.split(".")[0])


def _person(cell: str, path: Path, line: int) -> str:
    """Trimmed, and letters with accents in one spelling."""
    if not (name := unicodedata.normalize("NFC", cell.strip())):
        raise UserError(f"{path} line {line}: no subject")
    return name


def _fold(cell: str, path: Path, line: int) -> int:
    text = cell.strip()
    if not re.fullmatch(r"[0-9]{1,4}(\.0*)?", text) or int(text.split(".")[0]) < 1:
        raise UserError(f"{path} line {line}: fold {cell!r}: column fold must hold whole numbers from 1")
    return int(text.split(".")[0])


def _refuse_twice(table: pd.DataFrame, path: Path, root: Path) -> None:
    """One label a frame, one person a file's other name, one fold a person."""
    is_video = table["file"].map(lambda file: Path(file).suffix.lower() in VIDEOS)
    frames = table["frame"].where(is_video, EVERY_FRAME)  # a picture is one frame, whatever its number
    names = table["file"].drop_duplicates()
    real = {name: os.path.realpath(root / name) for name in names}
    keys = pd.DataFrame({"file": table["file"].map(real), "frame": frames})
    if (twice := keys.duplicated()).any():
        row = int(twice.to_numpy().argmax())
        first = int((keys == keys.iloc[row]).all(axis=1).to_numpy().argmax())
        raise UserError(
            f"{path} line {row + 2}: {table['file'][row]} is labelled twice for one frame, first in line {first + 2}"
        )
    if "fold" in table:
        per_subject = table.groupby("subject")["fold"].nunique()
        if (per_subject > 1).any():
            raise UserError(f"{path}: subject {per_subject.idxmax()} is in more than one fold")
