"""Predictions on disk: what the ladder writes and scoring reads.

A run folder holds `predictions/<split>/labels.parquet` (sample_id, subject, one int8 column per AU) and
`predictions/<split>/<method>-<mask_source>/<kind>-<severity>.parquet` (sample_id, subject, hidden, one
probability column per AU), split = validation or test. Severity 0 is stored once, as kind `none`: it is the
start of every kind's curve.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_modules.errors import UserError
from data_modules.facs import au_name
from data_modules.files import ANEW, check_columns, read_columns, read_parquet, reading, write_parquet
from fau_mae.evaluation.names import MASKS, kind_key, method_key

if TYPE_CHECKING:
    from data_modules.face_data import FaceDataModule

AU_COLUMN = re.compile(r"AU\d+")
_CELL = re.compile(r"(.+)-(\d\.\d\d)")  # kind and severity


SPLITS = ("validation", "test")  # thresholds come from the first


class Cell(NamedTuple):
    """One predictions file: a method, told the mask or not, on one kind of occlusion at one severity."""

    method: str
    mask_source: str
    kind: str
    severity: float
    path: Path


class Labels(NamedTuple):
    """What is known of N distinct faces, in order of sample id; A action units, S people."""

    sample_id: NDArray[np.int64]  # (N,)
    people: NDArray[np.str_]  # (S,) names in order
    person: NDArray[np.int64]  # (N,) whose face it is, index of `people`
    aus: tuple[str, ...]
    values: NDArray[np.int8]  # (N, A) 1 / 0 / -1


class Predictions(NamedTuple):
    """N distinct faces in order of sample id, A action units, S people, each with a face at least."""

    sample_id: NDArray[np.int64]  # (N,)
    people: NDArray[np.str_]  # (S,) names in order
    person: NDArray[np.int64]  # (N,) whose face it is, index of `people`
    hidden: NDArray[np.float64]  # (N,) exact hidden share of the crop
    aus: tuple[str, ...]
    probabilities: NDArray[np.float64]  # (N, A) in [0, 1]
    labels: NDArray[np.int8]  # (N, A) 1 / 0 / -1


def list_cells(folder: Path) -> list[Cell]:
    """The prediction files of one split, ordered by method, mask source, kind and severity."""
    cells = []
    for path in folder.glob("*/*.parquet"):
        method, dash, mask_source = path.parent.name.rpartition("-")
        name = _CELL.fullmatch(path.stem)
        if dash and mask_source in MASKS and name:
            cells.append(Cell(method, mask_source, name[1], float(name[2]), path))
    return sorted(cells, key=lambda c: (method_key(c.method, c.mask_source), kind_key(c.kind), c.severity))


def read_labels(folder: Path) -> Labels:
    """Labels of one split; repeated faces once."""
    path = folder / "labels.parquet"
    if not path.exists():
        raise UserError(f"{path} is missing: run the occlusion ladder of this run first")
    table = read_parquet(path)
    with reading(path):
        aus = tuple(column for column in table.columns if AU_COLUMN.fullmatch(column))
        check_columns(table, ["subject"], ["sample_id", *aus])
        if not aus or not table[[*aus]].isin([-1, 0, 1]).all(axis=None):
            raise ValueError("labels are 1, 0 or -1" if aus else "it holds no labels")
        sample_id, first = _distinct(table["sample_id"].to_numpy(np.int64))
        people, person = np.unique(table["subject"].to_numpy(object)[first].astype(str), return_inverse=True)
        return Labels(sample_id, people, person, aus, _per_au(table, aus, first, np.int8))


def read_predictions(path: Path, labels: Labels) -> Predictions:
    """One predictions file joined with the labels of its split; repeated faces (distributed padding) once.

    Raises:
        UserError: a damaged file, a face without labels, an AU column that is missing, or a value outside [0, 1].
    """
    table = read_columns(path)
    if missing := [au for au in labels.aus if au not in table]:
        raise UserError(f"{path} lacks the columns {', '.join(missing)} that labels.parquet has: {ANEW}")
    with reading(path):
        check_columns(table, numbers=["sample_id", "hidden"])
        sample_id, first = _distinct(table["sample_id"])
        row = _find(sample_id, labels.sample_id)
    if row is None:
        raise UserError(f"{path} holds faces that labels.parquet lacks: predictions of another data set?")
    probabilities = _per_au(table, labels.aus, first, np.float64)
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise UserError(f"{path} holds values that are no probabilities (below 0, above 1 or NaN)")
    person = labels.person[row]
    shown = np.bincount(person, minlength=len(labels.people)) > 0
    return Predictions(
        sample_id=sample_id,
        people=labels.people[shown],
        person=(np.cumsum(shown) - 1)[person],
        hidden=table["hidden"][first].astype(np.float64),
        aus=labels.aus,
        probabilities=probabilities,
        labels=labels.values.T[:, row].T,
    )


def read_regions(cell: Cell, faces: Predictions) -> NDArray[np.float64] | None:
    """(N, A) hidden share of each AU's region of the face, where the ladder left it (see regions.py).

    Raises:
        UserError: a face is missing there.
    """
    path = cell.path.parent.parent / "regions" / cell.path.name
    if not path.exists():
        return None
    table = read_columns(path)
    with reading(path):
        check_columns(table, numbers=["sample_id", *faces.aus])
        sample_id, first = _distinct(table["sample_id"])
        row = _find(faces.sample_id, sample_id)
    if row is None:
        raise UserError(f"{path} lacks faces that {cell.path} has: delete both and run the ladder again")
    return _per_au(table, faces.aus, first[row], np.float64)


def _distinct(sample_id: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sample ids in order, each once, and the first row of each."""
    order = np.argsort(sample_id)
    sample_id = sample_id[order]
    starts = np.flatnonzero(np.append(True, sample_id[1:] != sample_id[:-1])[: len(sample_id)])
    return sample_id[starts], np.minimum.reduceat(order, starts) if len(starts) else order


def _find(wanted: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Where sample ids stand among known ones, both in order; None where one is not there."""
    if np.array_equal(wanted, known):
        return np.arange(len(known))
    row = np.searchsorted(known, wanted)
    if (row == len(known)).any() or (known[row] != wanted).any():
        return None
    return row


def _per_au(
    table: Mapping[str, Any], aus: Sequence[str], rows: NDArray[np.int64], kind: type[np.generic]
) -> NDArray:
    """(N, A) from a table's columns of AUs; each AU's values lie together, for that is how they are read."""
    return np.stack([np.asarray(table[au])[rows].astype(kind) for au in aus]).T


def write_labels(data: "FaceDataModule", split: str, folder: Path) -> None:
    rows = getattr(data.split, split)
    table = pd.DataFrame(data.known("labels")[rows], columns=[au_name(au) for au in data.aus])
    table.insert(0, "sample_id", data.store.column("sample_id")[rows])
    table.insert(1, "subject", data.store.column("subject")[rows])
    write_parquet(folder / "labels.parquet", table)
