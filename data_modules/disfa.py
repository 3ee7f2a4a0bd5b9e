"""DISFA (Mavadati et al., 2013): videos of 27 people with the intensity of 12 AUs in every frame.

Layout read: `Videos_LeftCamera/LeftVideoSN001_comp.avi` (or `Video_RightCamera/RightVideoSN001_Comp.avi`;
neither case nor the `s` matters) and per AU the file `ActionUnit_Labels/SN001/SN001_au1.txt`, lines
`frame,intensity`. Frames count from 1, intensity is 0-5; an AU counts as present from intensity 2 on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from data_modules.errors import UserError
from data_modules.faces.video import Video
from data_modules.facs import DISFA_ALL_AUS, DISFA_AUS
from data_modules.files import file_hash
from data_modules.sources.frames import Source, SourceFrame, files_state, whole_number
from data_modules.sources.media import check_published, match_names
from data_modules.sources.preparing import prepare_store
from data_modules.stores.store import FaceStore, StoreInfo
from data_modules.stores.store_writer import Tally

PRESENT_FROM = 2
MIN_FACE = 96  # pixels; faces fill more than a third of the 768 rows

# The three subject-exclusive parts of the literature; fold 1 tests part 3, fold 2 part 2, fold 3 part 1.
DISFA_PARTS: dict[str, int] = {
    f"SN{number:03d}": part
    for part, numbers in {
        1: (1, 2, 9, 10, 16, 26, 27, 30, 32),
        2: (6, 11, 12, 13, 18, 21, 24, 28, 31),
        3: (3, 4, 5, 7, 8, 17, 23, 25, 29),
    }.items()
    for number in numbers
}

# Frames that common work leaves out because the face is lost: first and last of each run, numbered from 1.
BAD_FRAMES: dict[str, tuple[tuple[int, int], ...]] = {
    "SN001": ((398, 420), (3190, 3243)),
    "SN002": ((800, 826),),
    "SN004": ((4541, 4555),),
    "SN006": ((1349, 1405),),
    "SN009": ((1736, 1808), (1851, 1885)),
    "SN011": ((4529, 4533), (4830, 4845)),
    "SN021": (
        *((574, 616), (985, 1164), (1190, 1205), (1305, 1338)),
        *((1665, 1710), (1862, 2477), (2554, 4657), (4710, 4722)),
    ),
    "SN023": ((1021, 1049), (3378, 3557), (3584, 3668), (4547, 4621), (4741, 4772), (4825, 4845)),
    "SN025": ((4596, 4662), (4816, 4835)),
    "SN027": ((3461, 3494), (4738, 4785)),
    "SN028": ((1875, 1885), (4571, 4690)),
    "SN029": ((4090, 4543),),
    "SN030": ((939, 962), (1406, 1422), (2100, 2132), (2893, 2955)),
}


def prepare_disfa(
    root: Path,
    out: Path,
    *,
    size: int = 224,
    camera: Literal["left", "right"] = "left",
    drop_bad_frames: bool = False,
    aus: Sequence[int] = DISFA_AUS,
    landmarks: bool = True,
    preset: str = "canonical",
    encoding: str = "jpeg95",
    workers: int | None = None,
    progress: bool = True,
) -> FaceStore:
    """DISFA on disk -> a store of face crops of `size` pixels, one sequence per subject.

    `landmarks` takes the 66 points of `Landmark_Points`, where the set has them (left camera), instead of
    the detector. `drop_bad_frames` leaves out `BAD_FRAMES`. Frames without a face, and those that the labels
    name but a video does not hold (it is missing or breaks off), are counted and listed in `skipped.csv`. An
    AU whose file lacks a frame is unknown there. Raises `UserError` for a missing root, a malformed label file
    and a video of which no frame can be read: a damaged copy of a fixed data set is to be mended.
    """
    root = Path(root)
    if unknown := sorted(set(aus) - set(DISFA_ALL_AUS)):
        raise UserError(f"DISFA does not code AU{unknown[0]}; it codes {', '.join(map(str, DISFA_ALL_AUS))}")
    jobs = {job.subject: job for job in find_subjects(root, camera, tuple(aus), drop_bad_frames, landmarks)}
    left_out = {"video without labels": _videos_without_labels(root, camera, set(jobs))}
    options = {
        "camera": camera,
        "drop_bad_frames": drop_bad_frames,
        "landmarks": landmarks,
        "present_from": PRESENT_FROM,
    }
    counts = {reason: number for reason, number in left_out.items() if number}
    info = StoreInfo("disfa", tuple(aus), size, encoding, DISFA_PARTS, options, counts)
    return prepare_store(
        Source(jobs, read_frames, state_of),
        out,
        info,
        preset=preset,
        min_face=MIN_FACE,
        workers=workers,
        progress=progress,
    )


@dataclass(frozen=True)
class DisfaSubject:
    """Where one subject's video and labels are, and what to take from them."""

    root: Path
    subject: str
    video: Path
    labels: Path  # folder of this subject's label files
    aus: tuple[int, ...]
    drop_bad_frames: bool
    landmarks: Path | None = None  # folder of this subject's landmark files


def find_subjects(
    root: Path, camera: str, aus: tuple[int, ...], drop_bad_frames: bool, landmarks: bool = False
) -> list[DisfaSubject]:
    """The subjects with a label folder, by name. Raises `UserError` when a folder or every video lacks."""
    side = camera.capitalize()
    if not root.is_dir():
        raise UserError(
            f"no folder {root}: the DISFA root must hold ActionUnit_Labels and Videos_{side}Camera"
        )
    labels = match_names(root, "(ActionUnit_Labels)").get("ACTIONUNIT_LABELS")
    videos = match_names(root, f"(Videos?)_{side}Camera")
    if labels is None or not videos:
        lacking = "ActionUnit_Labels" if labels is None else f"Videos_{side}Camera"
        raise UserError(
            f"no folder {root / lacking}: the DISFA root must hold ActionUnit_Labels and Videos_{side}Camera"
        )
    if len(videos) > 1:
        raise UserError(f"{' and '.join(map(str, videos.values()))} are both there: keep one")
    folder = next(iter(videos.values()))
    files = match_names(folder, rf"{side}Video(SN\d+)_comp\.avi")
    people = {name: path for name, path in match_names(labels, r"(SN\d+)").items() if path.is_dir()}
    if not set(people) & set(files):
        raise UserError(f"{folder} holds no {side}VideoSN001_comp.avi or the like of a subject in {labels}")
    check_published(set(people), DISFA_PARTS, "DISFA", labels)
    subjects = []
    for name, path in people.items():
        points = root / "Landmark_Points" / path.name / "tmp_frame_lm"
        points_used = points if landmarks and camera == "left" and points.is_dir() else None
        video = files.get(name, folder / f"{side}Video{name}_comp.avi")
        subjects.append(DisfaSubject(root, name, video, path, aus, drop_bad_frames, points_used))
    return subjects


def _videos_without_labels(root: Path, camera: str, subjects: set[str]) -> int:
    side = camera.capitalize()
    folder = next(iter(match_names(root, f"(Videos?)_{side}Camera").values()))
    return len(set(match_names(folder, rf"{side}Video(SN\d+)_comp\.avi")) - subjects)


def state_of(job: DisfaSubject) -> object:
    """Its labels and files. Raises `UserError` for a malformed label file, so before any work is done."""
    landmarks = sorted(job.landmarks.iterdir()) if job.landmarks else []
    return [sorted(read_labels(job).items()), files_state(job.root, [job.video, *landmarks])]


def read_frames(job: DisfaSubject, tally: Tally) -> Iterator[SourceFrame]:
    """The labelled frames of one subject, in order."""
    intensity = read_labels(job)
    bad = {frame for first, last in BAD_FRAMES.get(job.subject, ()) for frame in range(first, last + 1)}
    there = job.video.is_file()
    pictures = Video(job.video) if there else ()
    source_hash = file_hash(job.video) if there else ""
    left_out = bad & set(intensity) if job.drop_bad_frames else set()
    source = job.video.relative_to(job.root).as_posix()
    for frame in sorted(left_out):
        tally.skip(source, frame, "bad frame of the published list")

    seen = {0}
    for number, image in pictures:
        seen.add(number)
        if number not in intensity:
            tally.skip(source, number, "no label")
        elif number not in left_out:
            points = read_landmarks(job, number) if job.landmarks else None
            tally.counts["landmarks missing"] += bool(job.landmarks) and points is None
            yield _labelled(job, number, image, intensity[number], source_hash, landmarks=points)
    for frame in sorted(set(intensity) - seen - left_out):
        lost = "video missing" if not there else "frame damaged" if frame < max(seen) else "video breaks off"
        yield _labelled(job, frame, None, intensity[frame], source_hash, lost)


def _labelled(
    job: DisfaSubject,
    number: int,
    image: np.ndarray | None,
    intensity: list[float],
    source_hash: str,
    missing: str = "",
    landmarks: np.ndarray | None = None,
) -> SourceFrame:
    labels = [-1 if value != value else int(value >= PRESENT_FROM) for value in intensity]
    source = job.video.relative_to(job.root).as_posix()
    return SourceFrame(
        image, job.subject, "", number, labels, intensity, source, source_hash, missing, landmarks
    )


def read_landmarks(job: DisfaSubject, frame: int) -> np.ndarray | None:
    """The 66 points (66, 2) of frame `frame`; its files count from 0. None for a missing or damaged file."""
    assert job.landmarks is not None
    for name in (f"{job.subject}_{frame - 1:04d}_lm.mat", f"l0{frame - 1:04d}_lm.mat"):
        if (path := job.landmarks / name).is_file():
            try:
                points = np.asarray(loadmat(path)["pts"], np.float32)
            except (MatReadError, NotImplementedError, ValueError, KeyError, TypeError, OSError):
                return None
            return points if points.shape == (66, 2) and np.isfinite(points).all() else None
    return None


def read_labels(job: DisfaSubject) -> dict[int, list[float]]:
    """Frame -> intensity of each AU of `job.aus` (A,), NaN where an AU's file has no line for the frame."""
    table: dict[int, list[float]] = {}
    files = match_names(job.labels, rf"{job.subject}_au0*([1-9]\d*)\.txt")
    for column, au in enumerate(job.aus):
        path = files.get(str(au), job.labels / f"{job.subject}_au{au}.txt")
        for frame, value in read_label_file(path).items():
            table.setdefault(frame, [float("nan")] * len(job.aus))[column] = value
    return table


def read_label_file(path: Path) -> dict[int, int]:
    """One AU of one subject: frame -> intensity 0-5. Raises `UserError` naming the line that is wrong."""
    if not path.is_file():
        raise UserError(f"DISFA label file {path} is missing")
    values: dict[int, int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        cells = line.split(",")
        if len(cells) != 2:
            raise UserError(f"{path} line {number}: {len(cells)} columns, expected 2: frame,intensity")
        try:
            frame, value = whole_number(cells[0]), whole_number(cells[1])
        except ValueError:
            raise UserError(f"{path} line {number}: {line.strip()[:40]!r} is not frame,intensity") from None
        if not 0 <= value <= 5:
            raise UserError(f"{path} line {number}: intensity {value} is outside 0-5")
        if frame < 1 or frame in values:
            fault = "below 1" if frame < 1 else "given twice"
            raise UserError(f"{path} line {number}: frame {frame} is {fault}")
        values[frame] = value
    return values
