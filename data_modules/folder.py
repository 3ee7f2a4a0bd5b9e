"""Any other collection: a folder of pictures and videos, with a table of AU labels or with none.

The table is a CSV or Parquet file. Column `file` holds paths relative to the root; columns `AU12`, `AU4`, …
hold 1, 0 or nothing (unknown); columns `AU12_intensity`, … hold 0-5 or nothing (`au_columns` has the other
spellings). Optional columns: `frame` of a video, counted from 1 (a row without one stands for all frames);
`subject`; `fold`, counted from 1: the one that tests the subject. Without a table every picture and frame is
stored unlabelled, for pre-training. Without subjects, each folder of pictures and each video counts as one.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from data_modules.errors import UserError, shown
from data_modules.faces.pictures import read_picture
from data_modules.faces.video import VIDEOS, open_video
from data_modules.facs import au_name
from data_modules.files import file_hash
from data_modules.sources.au_columns import numbers_of
from data_modules.sources.frames import Source, SourceFrame, files_state
from data_modules.sources.label_table import EVERY_FRAME, read_table, subject_of
from data_modules.sources.media import find_media, said
from data_modules.sources.preparing import prepare_store
from data_modules.stores.store import FaceStore, StoreInfo
from data_modules.stores.store_writer import Tally

Labels = tuple[tuple[int, ...], tuple[float, ...]]  # of one frame: presence (A,), intensity (A,)
UNLISTED = "file that the table does not name"


def prepare_folder(
    root: Path,
    out: Path,
    *,
    labels: Path | None = None,
    name: str = "folder",
    licence: str | None = None,
    size: int = 224,
    preset: str = "canonical",
    min_face: int = 40,
    encoding: str = "jpeg95",
    workers: int | None = None,
    progress: bool = True,
) -> FaceStore:
    """Pictures and videos below `root`, with the table `labels` or without -> a store named `name`.

    `licence`: of the pictures, with the attribution it asks for; model cards repeat it. `min_face`: side in
    pixels of the smallest face looked for. Files that the table names and that are missing or unreadable, and
    frames without a face, are counted and listed in `skipped.csv`; files that are no picture or video, hidden,
    reached twice by links, or not in the table, are counted. Raises `UserError` for a missing root or table,
    and for all that `read_table` refuses.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"no folder {root}")
    media = find_media(root)
    found, left_out = media.found, media.left_out
    if labels is not None:
        table = read_table(Path(labels), root)
        left_out[UNLISTED] = len(set(found) - set(table["file"]))
    elif found:
        table = pd.DataFrame({"file": found, "frame": EVERY_FRAME, "subject": list(map(subject_of, found))})
    else:
        what = said(left_out)
        raise UserError(f"{shown(root)} holds no picture or video{f': {what}' if what else ''}")
    aus = numbers_of([column for column in table if column.startswith("AU")])
    jobs = {
        subject: _job(root, str(subject), rows, aus) for subject, rows in table.groupby("subject", sort=True)
    }
    options = {"labels": labels.name if labels is not None else ""} | (
        {"licence": licence} if licence else {}
    )
    counts = {reason: number for reason, number in sorted(left_out.items()) if number}
    return prepare_store(
        Source(jobs, read_frames, state_of),
        out,
        StoreInfo(name, aus, size, encoding, _parts(table, labels), options, counts),
        preset=preset,
        min_face=min_face,
        workers=workers,
        progress=progress,
    )


@dataclass(frozen=True)
class FolderSubject:
    """The files of one subject, each with the labels of its frames; `EVERY_FRAME` stands for all."""

    root: Path
    subject: str
    files: tuple[tuple[str, dict[int, Labels]], ...]


def state_of(job: FolderSubject) -> object:
    """Its labels and files."""
    labels = [(file, sorted(frames.items())) for file, frames in job.files]
    return [labels, files_state(job.root, (job.root / file for file, _ in job.files))]


def read_frames(job: FolderSubject, tally: Tally) -> Iterator[SourceFrame]:
    """The frames of one subject's files, in the order of their names."""
    for file, labels in job.files:
        if Path(file).suffix.lower() in VIDEOS:
            yield from _video_frames(job, file, labels, tally)
        else:
            yield _picture(job, file, labels)


def _picture(job: FolderSubject, file: str, labels: dict[int, Labels]) -> SourceFrame:
    """The one frame of a picture, with the number that the table gives it or 0."""
    path, missing = job.root / file, ""
    (number, row), image = next(iter(labels.items())), None
    try:
        image = read_picture(path)
    except UserError:
        missing = "picture cannot be read" if path.is_file() else "picture missing"
    digest = file_hash(path) if image is not None else ""
    return SourceFrame(image, job.subject, file, max(number, 0), *row, file, digest, missing)


def _video_frames(
    job: FolderSubject, file: str, labels: dict[int, Labels], tally: Tally
) -> Iterator[SourceFrame]:
    frames, count, fault = open_video(job.root / file)
    digest, seen = file_hash(job.root / file) if not fault else "", {0}
    every = labels.get(EVERY_FRAME)
    for number, image in frames:
        seen.add(number)
        row = labels.get(number, every)
        if row is None:
            tally.skip(file, number, "no label")
        else:
            yield SourceFrame(image, job.subject, file, number, *row, file, digest)
    wanted = {number: row for number, row in labels.items() if number != EVERY_FRAME}
    # Frames of a video that cannot be opened are one entry, for their number is not known.
    if every is not None:
        wanted = dict.fromkeys(range(1, count + 1), every) | wanted or {0: every}
    for number in sorted(set(wanted) - (seen - {0})):
        lost = fault or ("frame damaged" if number < max(seen) else "video breaks off")
        yield SourceFrame(None, job.subject, file, number, *wanted[number], file, "", lost)


def _job(root: Path, subject: str, rows: pd.DataFrame, aus: Sequence[int]) -> FolderSubject:
    names = [au_name(number) for number in aus]
    presence = rows.reindex(columns=names).to_numpy(float)  # (rows, A)
    intensity = rows.reindex(columns=[f"{name}_intensity" for name in names]).to_numpy(float)
    files: dict[str, dict[int, Labels]] = {}
    for file, frame, present, strength in zip(rows["file"], rows["frame"], presence, intensity):
        codes = tuple(-1 if math.isnan(value) else int(value) for value in present)
        files.setdefault(file, {})[int(frame)] = (codes, tuple(float(value) for value in strength))
    return FolderSubject(root, subject, tuple(sorted(files.items())))


def _parts(table: pd.DataFrame, path: Path | None) -> dict[str, int]:
    """Subject -> part; fold 1 tests the last part."""
    if "fold" not in table:
        return {}
    count = int(table["fold"].max())
    if empty := sorted(set(range(1, count + 1)) - set(table["fold"])):
        raise UserError(f"{path}: no subject is in fold {empty[0]}, but folds go up to {count}")
    first = table.groupby("subject")["fold"].first()
    return {str(subject): count + 1 - int(fold) for subject, fold in first.items()}
