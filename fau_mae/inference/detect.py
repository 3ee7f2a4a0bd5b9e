"""Pictures, folders and videos -> a table of action units (`aus.csv`) and one overlay picture per input."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from data_modules import files
from data_modules.errors import UserError, shown
from data_modules.faces.alignment import Face, align, crop_matrix, warp
from data_modules.faces.detection import FaceDetector, in_chunks
from data_modules.faces.pictures import PICTURES, read_picture
from data_modules.faces.tracking import FaceTracker
from data_modules.faces.video import VIDEOS, Video
from data_modules.occlusion.spec import token_visibility
from data_modules.sources.media import fault_of, find_media, first_of, said
from data_modules.stores.store import encode_image
from fau_mae.inference import table
from fau_mae.inference.overlay import draw_overlay
from fau_mae.inference.predictor import Reading

# A picture (H, W, 3) and its frame's number -> its faces
Find = Callable[[NDArray[np.uint8], int], list[Face]]
# Face crops uint8 RGB (B, H, W, 3), and which tokens are visible (B, N), where that is known -> what they show
Read = Callable[[NDArray[np.uint8], NDArray[np.bool_] | None], Reading]
_LONGEST_STEM = 200  # bytes of an overlay's name


@dataclass(frozen=True)
class Detected:
    """What one frame shows: its faces, largest first, and what was read of them."""

    image: np.ndarray  # uint8 RGB (H, W, 3)
    frame: int
    faces: list[Face]
    reading: Reading


@dataclass(frozen=True)
class Crops:
    """How a model wants its faces, and how it reads them: crop recipe, pixels and tokens of a side, AUs in order."""

    read: Read
    aus: Sequence[int]
    size: int
    grid: int
    preset: str = "canonical"


@dataclass(frozen=True)
class Choice:
    """What of the pictures is looked at, and what is written.

    Args:
        every: of a video, every so many frames.
        min_score: of the face finder, 0 to 1; faces below are left out.
        min_face: shortest side of a face in pixels.
        mask: a picture of what is hidden, of the size of every frame: black hides; None where that is not known.
        overlays: whether to write them.
    """

    every: int = 1
    min_score: float = 0.0
    min_face: int = 40
    mask: NDArray[np.uint8] | None = None  # (H, W, 3)
    overlays: bool = True


@dataclass(frozen=True)
class DetectionSummary:
    """What `detect_files` did: files of which something was read, their frames and faces, and the overlays written.

    `unreadable`: a line per file that could not be read, or not to its end. `other`: reason -> files of the folders
    that are left out because they are no pictures or videos, hidden, or read already. `gaps`: a line per face of a
    video that was gone for some frames.
    """

    files: int
    frames: int
    faces: int
    overlays: int
    unreadable: tuple[str, ...]
    gaps: tuple[str, ...]
    other: Mapping[str, int]


def detect_files(
    inputs: Sequence[Path],
    out: Path,
    crops: Crops,
    choice: Choice = Choice(),
    *,
    progress: bool = True,
) -> DetectionSummary:
    """Find the faces, have their crops read, write `aus.csv` and the overlays.

    Folders are searched for pictures and videos, see `find_media`, `out` within them left aside. A video's overlay
    shows its first frame with a face. `out` appears, or its files are replaced, only when all is done. Files that
    cannot be read are left out and named in the summary. Raises `UserError` for an input that does not exist, for
    an `out` that is or holds one, and where nothing can be read.
    """
    out = Path(out)
    files.check_folder(out, inputs)
    found, unfit, other = list_files(inputs, out)
    finder = FaceDetector(choice.min_face)
    with files.folder_aside(out) as part:
        summary = _detect_all(found, part, finder, crops, choice, progress)
        _refuse_strangers(part, out)
    return replace(summary, unreadable=(*unfit, *summary.unreadable), other=other)


def _refuse_strangers(part: Path, out: Path) -> None:
    """Only what an earlier `detect` left may be replaced: then its table is there."""
    if (out / "aus.csv").is_file():
        return
    if taken := [path.name for path in sorted(part.iterdir()) if (out / path.name).exists()]:
        raise UserError(
            f"{shown(out / taken[0])} is there already and not of this command: choose a new folder"
        )


def list_files(inputs: Sequence[Path], out: Path) -> tuple[list[Path], list[str], Counter[str]]:
    """The inputs with folders replaced by the pictures and videos in them, each file once, none below `out`.

    With a line for each that cannot be read, and how many are left out as being of another kind, by reason. Raises
    `UserError` for an input that does not exist, and where nothing is left.
    """
    found: dict[str, Path] = {}  # by their real paths
    unfit: list[str] = []
    other: Counter[str] = Counter()
    for path in map(Path, inputs):
        if path.is_dir():
            media = find_media(path, aside=out)
            inside = [path / name for name in media.found]
            unfit += (f"{shown(path / name)}: {reason}" for name, reason in media.unfit)
            other += media.other
        elif not path.exists():
            raise UserError(f"{shown(path)} does not exist")
        else:
            known = path.suffix.lower() in PICTURES | VIDEOS
            fault = fault_of(path) if known else "neither a picture nor a video of a known kind"
            inside = [] if fault else [path]
            unfit += [f"{shown(path)}: {fault}"] * bool(fault)
        for file in inside:
            other["file that is given twice"] += found.setdefault(os.path.realpath(file), file) is not file
    if not found:
        nothing = f"no picture or video in {', '.join(map(shown, inputs))}"
        what = f": {said(other)}" if said(other) else ""
        raise UserError(first_of(unfit) if unfit else nothing + what)
    return list(found.values()), unfit, other


def _detect_all(
    found: list[Path],
    out: Path,
    finder: FaceDetector,
    crops: Crops,
    choice: Choice,
    progress: bool,
) -> DetectionSummary:
    frames = faces = drawn = 0
    unreadable: list[str] = []
    broken: list[str] = []
    gaps: list[str] = []
    overlays = _overlay_names(found)
    with (
        files.table_writer(out / "aus.csv", table.header(crops.aus)) as write,
        Progress(disable=not progress) as bar,
    ):
        for file in bar.track(found, description="detecting"):
            best: Detected | None = None
            try:
                for seen in _detect_file(file, finder, crops, choice, broken, gaps):
                    frames, faces = frames + 1, faces + len(seen.faces)
                    for row in table.rows(file, seen.frame, seen.faces, seen.reading):
                        write(row)
                    if best is None or (seen.faces and not best.faces):
                        best = seen
            except UserError as error:
                unreadable.append(str(error))
            if best is not None and choice.overlays:
                picture = draw_overlay(best.image, best.faces, best.reading, crops.aus, crops.preset)
                files.write_bytes(out / overlays[file], encode_image(picture, "png"))
                drawn += 1
    if len(unreadable) == len(found):
        raise UserError(first_of(unreadable))
    read = len(found) - len(unreadable)
    return DetectionSummary(read, frames, faces, drawn, tuple(unreadable + broken), tuple(gaps), {})


def _detect_file(
    file: Path, finder: FaceDetector, crops: Crops, choice: Choice, broken: list[str], gaps: list[str]
) -> Iterator[Detected]:
    """What each frame shows; a line in `broken` for a video of which frames are lost, in `gaps` for a face that is
    gone for some."""
    video = Video(file) if file.suffix.lower() in VIDEOS else None
    frames = iter(video) if video else iter([(0, read_picture(file))])
    count = _Count()
    tracker = FaceTracker(finder)
    find = tracker.track if video else lambda image, _: finder.find(image)
    chosen = (frame for frame in count.watch(frames) if (frame[0] - 1) % choice.every == 0 or not video)
    for numbered in in_chunks(chosen, lambda frame: frame[1]):
        yield from read_frames(numbered, find, crops, choice, shown(file))
    for number, seen, back in tracker.gaps:
        gaps.append(f"{shown(file)}: face {number} is not seen between frames {seen} and {back}")
    if video and count.read < video.count:
        how = "broke off after" if count.read == count.last else "is damaged; it shows"
        broken.append(f"{shown(file)} {how} {count.read} of {video.count} frames")


class _Count:
    """Frames that were read, and the number of the last."""

    read = last = 0

    def watch(self, frames: Iterable[tuple[int, np.ndarray]]) -> Iterator[tuple[int, np.ndarray]]:
        for number, image in frames:
            self.read, self.last = self.read + 1, number
            yield number, image


def read_frames(
    numbered: Sequence[tuple[int, np.ndarray]],
    find: Find,
    crops: Crops,
    choice: Choice,
    name: str,
) -> Iterator[Detected]:
    """What each of some numbered frames of one size shows. Raises `UserError`, naming `name`, for an unfit mask."""
    images = [image for _, image in numbered]
    per_image = [
        sorted(
            (face for face in find(image, number) if face.score >= choice.min_score),
            key=lambda face: -face.area,
        )
        for number, image in numbered
    ]
    reading = _read(name, images, per_image, crops, choice)
    start = 0
    for (number, image), faces in zip(numbered, per_image):
        yield Detected(image, number, faces, reading[start : start + len(faces)])
        start += len(faces)


def _read(
    name: str,
    images: Sequence[np.ndarray],
    per_image: Sequence[Sequence[Face]],
    crops: Crops,
    choice: Choice,
) -> Reading:
    """What all faces of some frames show."""
    pairs = [(image, face) for image, faces in zip(images, per_image) for face in faces]
    side = crops.size
    cut = [align(image, face, side, crops.preset) for image, face in pairs]
    known = None
    if choice.mask is not None:
        if images[0].shape != choice.mask.shape:
            (height, width), (rows, columns) = images[0].shape[:2], choice.mask.shape[:2]
            raise UserError(
                f"{name} is {width} × {height} pixels, the mask {columns} × {rows}: both must agree"
            )
        shows = [
            warp(choice.mask, crop_matrix(face, side, crops.preset), side)[..., 0] >= 128 for _, face in pairs
        ]
        # (B, N), True = visible
        known = np.array([token_visibility(pixels, crops.grid) for pixels in shows], bool)
        known = known.reshape(len(pairs), crops.grid**2)
    # (B, H, W, 3)
    return crops.read(np.array(cut, np.uint8).reshape(len(cut), side, side, 3), known)


def _overlay_names(found: list[Path]) -> dict[Path, str]:
    """A file name for each overlay: that of the input, numbered where two inputs share one, cut where it is long."""
    names: dict[Path, str] = {}
    taken: set[str] = set()
    last: Counter[str] = Counter()  # number of each stem: many folders may hold equal names
    for file in found:
        stem = files.cut_name(file.stem, _LONGEST_STEM)
        while (name := f"{stem}-{last[stem] + 1}.png" if last[stem] else f"{stem}.png") in taken:
            last[stem] += 1
        taken.add(name)
        last[stem] += 1
        names[file] = name
    return names
