"""Predictions on disk: what the ladder writes and scoring reads.

A run folder holds `predictions/<split>/labels.parquet` (sample_id, subject, one int8 column per AU) and
`predictions/<split>/<method>-<mask_source>/<kind>-<severity>.parquet` (sample_id, subject, hidden, one
probability column per AU), split = validation or test. Severity 0 is stored once, as kind `none`: it is the
start of every kind's curve.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_modules.errors import UserError
from data_modules.face_data import FaceDataModule
from data_modules.facs import au_name
from data_modules.files import read_parquet, write_parquet
from fau_mae.evaluation.names import MASKS, kind_key, method_key

AU_COLUMN = re.compile(r"AU\d+")


SPLITS = ("validation", "test")  # thresholds come from the first


class Cell(NamedTuple):
    """One predictions file: a method, told the mask or not, on one kind of occlusion at one severity."""

    method: str
    mask_source: str
    kind: str
    severity: float
    path: Path


class Predictions(NamedTuple):
    """N distinct faces in order of sample id, A action units."""

    sample_id: NDArray[np.int64]  # (N,)
    subject: NDArray  # (N,) of str
    hidden: NDArray[np.float64]  # (N,) exact hidden share of the crop
    aus: tuple[str, ...]
    probabilities: NDArray[np.float64]  # (N, A) in [0, 1]
    labels: NDArray[np.int8]  # (N, A) 1 / 0 / -1


def list_cells(folder: Path) -> list[Cell]:
    """The prediction files of one split, ordered by method, mask source, kind and severity."""
    cells = []
    for path in folder.glob("*/*.parquet"):
        method, dash, mask_source = path.parent.name.rpartition("-")
        kind, _, severity = path.stem.rpartition("-")
        if dash and mask_source in MASKS and kind:
            cells.append(Cell(method, mask_source, kind, float(severity), path))
    return sorted(cells, key=lambda c: (method_key(c.method, c.mask_source), kind_key(c.kind), c.severity))


def read_labels(folder: Path) -> pd.DataFrame:
    """Labels of one split: index sample_id, columns subject and one per AU; repeated faces once."""
    path = folder / "labels.parquet"
    if not path.is_file():
        raise UserError(f"{path} is missing: run the occlusion ladder of this run first")
    return read_parquet(path).drop_duplicates("sample_id").set_index("sample_id").sort_index()


def read_predictions(path: Path, labels: pd.DataFrame) -> Predictions:
    """One predictions file joined with the labels of its split; repeated faces (distributed padding) once.

    Raises:
        UserError: a face without labels, an AU column that is missing, or a value outside [0, 1].
    """
    frame = read_parquet(path).drop_duplicates("sample_id").set_index("sample_id").sort_index()
    aus = tuple(column for column in labels.columns if AU_COLUMN.fullmatch(column))
    if missing := [au for au in aus if au not in frame.columns]:
        raise UserError(f"{path} lacks the columns {', '.join(missing)} that labels.parquet has")
    if not frame.index.isin(labels.index).all():
        raise UserError(f"{path} holds faces that labels.parquet lacks: predictions of another data set?")
    probabilities = frame[list(aus)].to_numpy(np.float64)
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise UserError(f"{path} holds values that are no probabilities (below 0, above 1 or NaN)")
    known = labels.loc[frame.index]
    return Predictions(
        sample_id=frame.index.to_numpy(np.int64),
        subject=known["subject"].astype(str).to_numpy(object),
        hidden=frame["hidden"].to_numpy(np.float64),
        aus=aus,
        probabilities=probabilities,
        labels=known[list(aus)].to_numpy(np.int8),
    )


def read_regions(cell: Cell, faces: Predictions) -> NDArray[np.float64] | None:
    """(N, A) hidden share of each AU's region of the face, where the ladder left it (see regions.py)."""
    path = cell.path.parent.parent / "regions" / cell.path.name
    if not path.is_file():
        return None
    shares = read_parquet(path).drop_duplicates("sample_id").set_index("sample_id")
    return shares.loc[faces.sample_id, list(faces.aus)].to_numpy(np.float64)


def write_labels(data: FaceDataModule, split: str, folder: Path) -> None:
    rows = getattr(data.split, split)
    table = pd.DataFrame(data.store.column("labels")[rows], columns=[au_name(au) for au in data.aus])
    table.insert(0, "sample_id", data.store.column("sample_id")[rows])
    table.insert(1, "subject", data.store.column("subject")[rows])
    write_parquet(folder / "labels.parquet", table)
