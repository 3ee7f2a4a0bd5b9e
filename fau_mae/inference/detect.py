"""Pictures, folders and videos -> a table of AU probabilities and one overlay picture per input.

`aus.csv` has one row per face: file, frame (0 for a picture, counted from 1 in a video), face (counted from
1, largest first), x0, y0, x1, y1 in pixels, score, then one probability per AU. A frame without a face has
one row with face 0 and empty cells.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor

from data_modules import files
from data_modules.errors import UserError, shown
from data_modules.faces.alignment import Face, align
from data_modules.faces.detection import FaceDetector, in_chunks
from data_modules.faces.pictures import PICTURES, read_picture
from data_modules.faces.video import VIDEOS, Video
from data_modules.facs import au_name
from data_modules.sources.media import fault_of, find_media, first_of, said
from data_modules.stores.store import encode_image
from fau_mae.inference.overlay import draw_overlay

# Face crops uint8 RGB (B, 3, H, W) -> AU probabilities (B, A)
Predict = Callable[[Tensor], Tensor]
_LONGEST_STEM = 200  # bytes of an overlay's name


@dataclass(frozen=True)
class Detected:
    """What one frame shows: its faces, largest first, and the probability of each AU in each (F, A)."""

    image: np.ndarray  # uint8 RGB (H, W, 3)
    frame: int
    faces: list[Face]
    probabilities: np.ndarray


@dataclass(frozen=True)
class DetectionSummary:
    """What `detect_files` did: files of which something was read, their frames and faces, and the overlays written.

    `unreadable`: a line per file that could not be read, or not to its end. `other`: reason -> files of the folders
    that are left out because they are no pictures or videos, hidden, or read already.
    """

    files: int
    frames: int
    faces: int
    overlays: int
    unreadable: tuple[str, ...]
    other: Mapping[str, int]


def detect_files(
    inputs: Sequence[Path],
    out: Path,
    predict: Predict,
    aus: Sequence[int],
    size: int,
    *,
    preset: str = "canonical",
    device: str = "cpu",
    min_face: int = 40,
    progress: bool = True,
) -> DetectionSummary:
    """Find the faces, give their crops of `size` pixels to `predict`, write `aus.csv` and the overlays.

    Folders are searched for pictures and videos, see `find_media`, `out` within them left aside. A video's overlay
    shows its first frame with a face. `out` appears, or its files are replaced, only when all is done. Files that
    cannot be read are left out and named in the summary. Raises `UserError` for an input that does not exist, for
    an `out` that is or holds one, and where nothing can be read.
    """
    out = Path(out)
    files.check_folder(out, inputs)
    found, unfit, other = list_files(inputs, out)
    detector = FaceDetector(device, min_face)
    with files.folder_aside(out) as part:
        summary = _detect_all(found, part, detector, predict, aus, size, preset, progress)
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
    detector: FaceDetector,
    predict: Predict,
    aus: Sequence[int],
    size: int,
    preset: str,
    progress: bool,
) -> DetectionSummary:
    frames = faces = drawn = 0
    unreadable: list[str] = []
    broken: list[str] = []
    overlays = _overlay_names(found)
    header = ["file", "frame", "face", "x0", "y0", "x1", "y1", "score", *map(au_name, aus)]
    with files.table_writer(out / "aus.csv", header) as write, Progress(disable=not progress) as bar:
        for file in bar.track(found, description="detecting"):
            best: Detected | None = None
            try:
                for seen in _detect_file(file, detector, predict, len(aus), size, preset, broken):
                    frames, faces = frames + 1, faces + len(seen.faces)
                    for row in _table_rows(file, seen):
                        write(row)
                    if best is None or (seen.faces and not best.faces):
                        best = seen
            except UserError as error:
                unreadable.append(str(error))
            if best is not None:
                picture = draw_overlay(best.image, best.faces, best.probabilities, aus)
                files.write_bytes(out / overlays[file], encode_image(picture, "png"))
                drawn += 1
    if len(unreadable) == len(found):
        raise UserError(first_of(unreadable))
    read = len(found) - len(unreadable)
    return DetectionSummary(read, frames, faces, drawn, tuple(unreadable + broken), {})


def _detect_file(
    file: Path,
    detector: FaceDetector,
    predict: Predict,
    num_aus: int,
    size: int,
    preset: str,
    broken: list[str],
) -> Iterator[Detected]:
    """What each frame shows; a line in `broken` for a video of which frames are lost."""
    video = Video(file) if file.suffix.lower() in VIDEOS else None
    frames = iter(video) if video else iter([(0, read_picture(file))])
    read = last = 0
    for numbered in in_chunks(frames, lambda frame: frame[1]):
        read, last = read + len(numbered), numbered[-1][0]
        numbers, chunk = [number for number, _ in numbered], [image for _, image in numbered]
        per_image = [sorted(faces, key=lambda face: -face.area) for faces in detector.detect(chunk)]
        crops = [align(image, face, size, preset) for image, faces in zip(chunk, per_image) for face in faces]
        probabilities = np.zeros((0, num_aus), np.float32)
        if crops:
            batch = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()  # (B, 3, H, W)
            probabilities = predict(batch).float().cpu().numpy()
        for number, image, faces in zip(numbers, chunk, per_image):
            yield Detected(image, number, faces, probabilities[: len(faces)])
            probabilities = probabilities[len(faces) :]
    if video and read < video.count:
        how = "broke off after" if read == last else "is damaged; it shows"
        broken.append(f"{shown(file)} {how} {read} of {video.count} frames")


def _table_rows(file: Path, found: Detected) -> list[list[object]]:
    if not found.faces:
        return [[file, found.frame, 0, *[""] * (5 + found.probabilities.shape[1])]]
    return [
        [file, found.frame, number]
        + [f"{value:.1f}" for value in face.box]
        + [f"{face.score:.4f}", *(f"{value:.4f}" for value in values)]
        for number, (face, values) in enumerate(zip(found.faces, found.probabilities), 1)
    ]


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
