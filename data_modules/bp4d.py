"""BP4D (Zhang et al., 2014): pictures of 41 people in 8 tasks, with the occurrence of AUs in coded frames.

Pictures: `Sequences(2D+3D)/F001/T1/2440.jpg`, numbers with any zero padding, names in any case. Labels in either
release:

- `AUCoding/AU_OCC/F001_T1.csv`: a header row of AU numbers; the first column is the frame.
- FERA 2015, `BP4D-AUCoding/AUCoding/F001_T1.csv`: the first column is the frame, column j is AU j, the last
  is 1 where the face is occluded (all codes unknown); with or without a header row.

0 is absent, 1 present, 9 unknown; unknown is kept as such.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_modules.errors import UserError
from data_modules.faces.pictures import PICTURES, read_picture
from data_modules.facs import BP4D_AUS
from data_modules.files import file_hash
from data_modules.sources.frames import Source, SourceFrame, files_state, whole_number
from data_modules.sources.media import check_published, match_names
from data_modules.sources.preparing import prepare_store
from data_modules.stores.store import FaceStore, StoreInfo
from data_modules.stores.store_writer import Tally

UNKNOWN = 9
MIN_FACE = 96  # pixels; faces fill more than a third of the 1040 columns

# The three subject-exclusive parts of the literature; fold 1 tests part 3, fold 2 part 2, fold 3 part 1.
BP4D_PARTS: dict[str, int] = {
    subject: part
    for part, subjects in {
        1: "F001 F002 F008 F009 F010 F016 F018 F023 M001 M004 M007 M008 M012 M014",
        2: "F003 F005 F011 F013 F020 F022 M002 M005 M010 M011 M013 M016 M017 M018",
        3: "F004 F006 F007 F012 F014 F015 F017 F019 F021 M003 M006 M009 M015",
    }.items()
    for subject in subjects.split()
}

_PICTURE_FOLDERS = ("Sequences(2D+3D)", "Sequences", "BP4D-training", ".")
_LABEL_FILE = r"([FM]\d+_T\d+)\.csv"
_LABEL_FOLDERS = ("AUCoding/AU_OCC", "AU_OCC", "BP4D-AUCoding/AUCoding", "BP4D-AUCoding", "AUCoding")


def prepare_bp4d(
    root: Path,
    out: Path,
    *,
    size: int = 224,
    aus: Sequence[int] = BP4D_AUS,
    frame_offset: int = 0,
    preset: str = "canonical",
    encoding: str = "jpeg95",
    workers: int | None = None,
    progress: bool = True,
) -> FaceStore:
    """BP4D on disk -> a store of face crops of `size` pixels, one sequence per subject and task.

    Frame f of a label file is picture f + `frame_offset`. Coded frames without a picture, with a picture that
    cannot be read, or without a face are counted and listed in `skipped.csv`. Raises `UserError` for a
    missing root, a label file that lacks an AU, and a code other than 0, 1 and 9.
    """
    root = Path(root)
    sequences = find_sequences(root, tuple(aus), frame_offset)
    options = {"frame_offset": frame_offset, "release": release_of(sequences[0].labels)}
    info = StoreInfo("bp4d", tuple(aus), size, encoding, BP4D_PARTS, options, _without_labels(sequences))
    source = Source({f"{job.subject}_{job.task}": job for job in sequences}, read_frames, state_of)
    return prepare_store(
        source, out, info, preset=preset, min_face=MIN_FACE, workers=workers, progress=progress
    )


@dataclass(frozen=True)
class Bp4dSequence:
    """Where the pictures and labels of one subject's task are."""

    root: Path
    subject: str
    task: str
    pictures: Path
    labels: Path
    aus: tuple[int, ...]
    frame_offset: int


def find_sequences(root: Path, aus: tuple[int, ...], frame_offset: int) -> list[Bp4dSequence]:
    """The sequences with a label file, by name. Raises `UserError` for none, or no folder of pictures."""
    if not root.is_dir():
        raise UserError(f"no folder {root}: --root must hold BP4D's pictures and AUCoding")
    labels = _first_with(root, _LABEL_FOLDERS, _LABEL_FILE)
    if labels is None:
        raise UserError(f"{root} holds no label file like {_LABEL_FOLDERS[0]}/F001_T1.csv")
    folder = _first_with(root, _PICTURE_FOLDERS, r"([FM]\d+)")
    people = match_names(folder, r"([FM]\d+)") if folder else {}
    tasks = {
        (name, task): path for name in people for task, path in match_names(people[name], r"(T\d+)").items()
    }
    if folder is None or not tasks:
        raise UserError(f"{root} holds no folder of pictures like {_PICTURE_FOLDERS[0]}/F001/T1")
    sequences = []
    for name, path in match_names(labels, _LABEL_FILE).items():
        subject, task = name.split("_")
        pictures = tasks.get((subject, task), folder / subject / task)
        sequences.append(Bp4dSequence(root, subject, task, pictures, path, aus, frame_offset))
    check_published({job.subject for job in sequences}, BP4D_PARTS, "BP4D", labels)
    return sequences


def _first_with(root: Path, names: tuple[str, ...], pattern: str) -> Path | None:
    """The first of these folders that has an entry of such a name."""
    return next((root / name for name in names if match_names(root / name, pattern)), None)


def _without_labels(sequences: list[Bp4dSequence]) -> dict[str, int]:
    """Tasks with pictures and no label file."""
    known = {(job.subject, job.task) for job in sequences}
    folder = _first_with(sequences[0].root, _PICTURE_FOLDERS, r"([FM]\d+)")
    people = match_names(folder, r"([FM]\d+)") if folder else {}
    there = {(name, task) for name, path in people.items() for task in match_names(path, r"(T\d+)")}
    return {"task without a label file": len(there - known)} if there - known else {}


def state_of(job: Bp4dSequence) -> object:
    """Its labels and pictures. Raises `UserError` for a malformed label file, so before any work is done."""
    pictures = pictures_by_number(job.pictures)
    return [sorted(read_labels(job.labels, job.aus).items()), files_state(job.root, pictures.values())]


def read_frames(job: Bp4dSequence, tally: Tally) -> Iterator[SourceFrame]:
    """The coded frames of one sequence, in order; the picture is None where it is missing or damaged."""
    pictures = pictures_by_number(job.pictures)
    labels = read_labels(job.labels, job.aus)
    tally.counts["picture without a code"] += len({n - job.frame_offset for n in pictures} - set(labels))
    for frame, codes in sorted(labels.items()):
        path = pictures.get(frame + job.frame_offset)
        image, missing = None, "picture missing"
        if path is not None:
            try:
                image = read_picture(path)
            except UserError:
                missing = "picture cannot be read"
        tally.counts["unknown labels"] += codes.count(-1)
        source = (path or job.labels).relative_to(job.root).as_posix()
        digest = file_hash(path) if path is not None and image is not None else ""
        unknown = [float("nan")] * len(codes)
        yield SourceFrame(image, job.subject, job.task, frame, codes, unknown, source, digest, missing)


def pictures_by_number(folder: Path) -> dict[int, Path]:
    """Frame number -> picture, whatever the zero padding. Raises `UserError` for two of one number."""
    pictures: dict[int, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in PICTURES and path.stem.isdecimal():
            if (number := int(path.stem)) in pictures:
                raise UserError(f"{path} and {pictures[number].name} are both frame {number}: remove one")
            pictures[number] = path
    return pictures


def release_of(path: Path) -> str:
    """`"original"` when a header names the AUs; `"fera2015"` when a column's place is its AU."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        header = _au_columns(next(csv.reader(file), []))
    return "original" if header and 3 not in header else "fera2015"  # there is no AU3, only a place 3


def read_labels(path: Path, aus: Sequence[int]) -> dict[int, list[int]]:
    """One sequence: frame -> code of each AU, 1 present, 0 absent, -1 unknown.

    Raises `UserError` naming the line of a wrong column count or a code that is not 0, 1 or 9, or
    the AU that has no column.
    """
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = [(line, row) for line, row in enumerate(csv.reader(file), 1) if any(map(str.strip, row))]
    if not rows:
        raise UserError(f"{path} is empty")
    original, width = release_of(path) == "original", len(rows[0][1])
    header = _au_columns(rows[0][1])
    columns = header if original else {place: place for place in range(1, width - 1)}
    if lacking := [number for number in aus if number not in columns]:
        raise UserError(f"{path} has no column for AU{lacking[0]}")
    places = [columns[au] for au in aus]
    labels: dict[int, list[int]] = {}
    for line, row in rows[1:] if header else rows:
        frame, codes = _read_row(path, line, row, width, places, original)
        if frame in labels:
            raise UserError(f"{path} line {line}: frame {frame} is given twice")
        labels[frame] = codes
    return labels


def _au_columns(row: list[str]) -> dict[int, int]:
    """AU number -> column of a header row; empty for a row of codes, which has but three values: 0, 1, 9."""
    cells = [(int(cell), place) for place, cell in enumerate(row) if place and cell.strip().isdecimal()]
    distinct = len(dict(cells)) == len(cells)
    return dict(cells) if distinct and len(cells) > 3 else {}


def _read_row(
    path: Path, line: int, row: list[str], width: int, columns: list[int], original: bool
) -> tuple[int, list[int]]:
    if len(row) != width:
        raise UserError(f"{path} line {line}: {len(row)} columns, expected {width}")
    try:
        frame, codes = whole_number(row[0]), [whole_number(row[column]) for column in columns]
        occluded = not original and whole_number(row[-1]) == 1
    except ValueError:
        raise UserError(f"{path} line {line}: a cell is not a whole number") from None
    if wrong := [code for code in codes if code not in (0, 1, UNKNOWN)]:
        raise UserError(f"{path} line {line}: code {wrong[0]} is not 0, 1 or 9")
    return frame, [-1 if occluded or code == UNKNOWN else code for code in codes]
