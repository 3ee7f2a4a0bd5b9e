"""Any other collection: a folder of pictures and videos, with a table of AU labels or with none.

The table is a CSV or Parquet file. Column `file` holds paths relative to the root; columns `AU12`, `AU4`, …
hold 1, 0 or nothing (unknown); columns `AU12_intensity`, … hold 0-5 or nothing. Optional columns: `frame` of
a video, counted from 1 (a row without one stands for all frames); `subject`; `fold`, counted from 1: the one
that tests the subject. Without a table every picture and frame is stored unlabelled, for pre-training.
Without subjects, each folder of pictures and each video counts as one.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from data_modules.errors import UserError
from data_modules.faces.video import PICTURES, VIDEOS, open_video, read_picture
from data_modules.facs import au_name
from data_modules.frames import Source, SourceFrame, file_hash, files_state
from data_modules.stores.preparing import prepare_store
from data_modules.stores.store import FaceStore, StoreInfo
from data_modules.stores.store_writer import Tally

Labels = tuple[tuple[int, ...], tuple[float, ...]]  # of one frame: presence (A,), intensity (A,)
_EVERY_FRAME = -1


def prepare_folder(
    root: Path,
    out: Path,
    *,
    labels: Path | None = None,
    name: str = "folder",
    size: int = 224,
    preset: str = "canonical",
    min_face: int = 40,
    encoding: str = "jpeg95",
    workers: int | None = None,
    progress: bool = True,
) -> FaceStore:
    """Pictures and videos below `root`, with the table `labels` or without -> a store named `name`.

    `min_face`: side in pixels of the smallest face looked for. Files that the table names and that are
    missing or unreadable, and frames without a face, are counted and listed in `skipped.csv`. Raises
    `UserError` for a missing root or table, a path that leaves the root, a label other than 0, 1 or empty, an
    intensity outside 0-5, and a subject in two folds.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"no folder {root}")
    table = read_table(Path(labels), root) if labels is not None else unlabelled_table(root)
    aus = tuple(
        sorted(int(column[2:]) for column in table if column.startswith("AU") and column[2:].isdecimal())
    )
    parts = _parts(table, labels)
    jobs = {
        subject: _job(root, str(subject), rows, aus) for subject, rows in table.groupby("subject", sort=True)
    }
    info = StoreInfo(name, aus, size, encoding, parts, {"labels": labels.name if labels is not None else ""})
    return prepare_store(
        Source(jobs, read_frames, state_of),
        out,
        info,
        preset=preset,
        min_face=min_face,
        workers=workers,
        progress=progress,
    )


@dataclass(frozen=True)
class FolderSubject:
    """The files of one subject, each with the labels of its frames; `_EVERY_FRAME` stands for all."""

    root: Path
    subject: str
    files: tuple[tuple[str, dict[int, Labels]], ...]


def read_table(path: Path, root: Path) -> pd.DataFrame:
    """The label table, checked: columns file, subject, frame (`_EVERY_FRAME` if none), fold if any, AUs."""
    if not path.is_file():
        raise UserError(f"label table {path} does not exist")
    try:
        table = pd.read_parquet(path) if path.suffix.lower() == ".parquet" else pd.read_csv(path, dtype=str)
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is not a table that can be read: {str(error).splitlines()[0]}") from None
    table = table.rename(columns=lambda column: str(column).strip())
    if "file" not in table:
        raise UserError(f"{path} has no column named file")
    table["file"] = [_inside(root, str(file), path, line) for line, file in enumerate(table["file"], 2)]
    for column in table.filter(regex=r"^AU\d+(_intensity)?$"):
        table[column] = _numbers(table[column], path, column)
    if not any(re.fullmatch(r"AU\d+", column) for column in table):
        raise UserError(f"{path} has no AU column: name them AU1, AU2, …")
    table["frame"] = _frames(table, path)
    if "subject" in table:
        if table["subject"].isna().any():
            raise UserError(f"{path} line {int(table['subject'].isna().argmax()) + 2}: no subject")
        table["subject"] = table["subject"].astype(str)
    else:
        table["subject"] = [_subject_of(file) for file in table["file"]]
    if twice := table[table.duplicated(["file", "frame"])].index.tolist():
        raise UserError(
            f"{path} line {twice[0] + 2}: {table['file'][twice[0]]} is labelled twice for one frame"
        )
    return table


def unlabelled_table(root: Path) -> pd.DataFrame:
    """Every picture and video below `root`, sorted. Raises `UserError` when there is none."""
    files = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in PICTURES | VIDEOS and path.is_file()
    )
    if not files:
        raise UserError(f"{root} holds no picture or video")
    return pd.DataFrame(
        {"file": files, "frame": _EVERY_FRAME, "subject": [_subject_of(file) for file in files]}
    )


def state_of(job: FolderSubject) -> object:
    """Its labels and files."""
    labels = [(file, sorted(frames.items())) for file, frames in job.files]
    return [labels, files_state(job.root, (job.root / file for file, _ in job.files))]


def read_frames(job: FolderSubject, tally: Tally) -> Iterator[SourceFrame]:
    """The frames of one subject's files, in the order of their names."""
    for file, labels in job.files:
        path = job.root / file
        is_video = path.suffix.lower() in VIDEOS
        images, count, fault = _open(path, is_video)
        digest = file_hash(path) if not fault else ""
        seen = set()
        for number, image in images:
            seen.add(number)
            if number not in labels and _EVERY_FRAME not in labels:
                tally.skip(file, number, "no label")
                continue
            presence, intensity = labels.get(number) or labels[_EVERY_FRAME]
            frame = number if is_video else 0
            yield SourceFrame(image, job.subject, file, frame, presence, intensity, file, digest)
        yield from _lost(job, file, labels, seen, count, fault)


def _lost(
    job: FolderSubject, file: str, labels: dict[int, Labels], seen: set[int], count: int, fault: str
) -> Iterator[SourceFrame]:
    """The labelled frames that could not be shown; those of a label that stands for all frames, too."""
    wanted = {number: row for number, row in labels.items() if number != _EVERY_FRAME}
    if (every := labels.get(_EVERY_FRAME)) is not None:
        wanted |= dict.fromkeys(range(1, count + 1), every) if seen else {0: every}
    for number in sorted(set(wanted) - seen):
        lost = fault or ("frame damaged" if number < max(seen) else "video breaks off")
        yield SourceFrame(None, job.subject, file, number, *wanted[number], file, "", lost)


def _open(path: Path, is_video: bool) -> tuple[Iterator[tuple[int, np.ndarray]], int, str]:
    """The numbered pictures in a file and how many it has, or none and what is wrong with it."""
    if is_video:
        return open_video(path)
    if not path.is_file():
        return iter(()), 0, "picture missing"
    try:
        return iter([(1, read_picture(path))]), 1, ""
    except UserError:
        return iter(()), 0, "picture cannot be read"


def _job(root: Path, subject: str, rows: pd.DataFrame, aus: Sequence[int]) -> FolderSubject:
    names = [au_name(number) for number in aus]
    presence = rows.reindex(columns=names).to_numpy(float)  # (rows, A)
    intensity = rows.reindex(columns=[f"{name}_intensity" for name in names]).to_numpy(float)
    files: dict[str, dict[int, Labels]] = {}
    for file, frame, present, strength in zip(rows["file"], rows["frame"], presence, intensity):
        codes = tuple(-1 if math.isnan(value) else int(value) for value in present)
        files.setdefault(file, {})[int(frame)] = (codes, tuple(float(value) for value in strength))
    return FolderSubject(root, subject, tuple(sorted(files.items())))


def _inside(root: Path, file: str, table: Path, line: int) -> str:
    """The path in canonical form. Links below the root may point elsewhere; `..` may not leave it."""
    path = Path(file.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or file == "nan":
        raise UserError(f"{table} line {line}: {file!r} is not a path below {root}")
    return path.as_posix()


def _numbers(column: pd.Series, path: Path, name: str) -> pd.Series:
    """AU columns: presence 0 or 1, `_intensity` 0-5, both with gaps."""
    values = pd.to_numeric(column, errors="coerce")
    stray = values.isna() & column.notna() & (column.astype(str).str.strip() != "")
    is_intensity = name.endswith("_intensity")
    wrong = stray | (values.notna() & ~(values.between(0, 5) if is_intensity else values.isin([0, 1])))
    if wrong.any():
        line = int(wrong.to_numpy().argmax())
        expected = "0 to 5 or empty" if is_intensity else "0, 1 or empty"
        raise UserError(f"{path} line {line + 2}: {name} is {column.iloc[line]!r}, expected {expected}")
    return values


def _frames(table: pd.DataFrame, path: Path) -> pd.Series:
    if "frame" not in table:
        return pd.Series(_EVERY_FRAME, index=table.index)
    frames = pd.to_numeric(table["frame"], errors="coerce").fillna(_EVERY_FRAME)
    wrong = ((frames < 1) & (frames != _EVERY_FRAME)) | (frames % 1 != 0)
    if wrong.any():
        line = int(wrong.to_numpy().argmax())
        raise UserError(f"{path} line {line + 2}: frame {table['frame'].iloc[line]!r}: frames count from 1")
    return frames.astype(int)


def _subject_of(file: str) -> str:
    """Its folder for a picture, itself for a video."""
    path = Path(file)
    return file if path.suffix.lower() in VIDEOS else path.parent.as_posix()


def _parts(table: pd.DataFrame, path: Path | None) -> dict[str, int]:
    if "fold" not in table:
        return {}
    folds = pd.to_numeric(table["fold"], errors="coerce")
    if not (folds.notna() & (folds >= 1) & (folds % 1 == 0)).all():
        raise UserError(f"{path}: column fold must hold whole numbers from 1 in every row")
    per_subject = folds.groupby(table["subject"]).nunique()
    if (per_subject > 1).any():
        raise UserError(f"{path}: subject {per_subject.idxmax()} is in more than one fold")
    count = int(folds.max())
    first = folds.groupby(table["subject"]).first().astype(int)
    return {str(subject): count + 1 - fold for subject, fold in first.items()}  # fold 1 tests the last part
