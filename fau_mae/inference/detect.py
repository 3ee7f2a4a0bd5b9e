"""Pictures, folders and videos -> a table of AU probabilities and one overlay picture per input.

`aus.csv` has one row per face: file, frame (0 for a picture, counted from 1 in a video), face (counted from
1, largest first), x0, y0, x1, y1 in pixels, score, then one probability per AU. A frame without a face has
one row with face 0 and empty cells.
"""

import csv
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor

from data_modules.errors import UserError
from data_modules.faces.alignment import Face, align
from data_modules.faces.detection import FaceDetector
from data_modules.faces.video import PICTURES, VIDEOS, read_picture, read_video
from data_modules.facs import au_name
from fau_mae.inference.overlay import draw_overlay

# Face crops uint8 RGB (B, 3, H, W) -> AU probabilities (B, A)
Predict = Callable[[Tensor], Tensor]
_FRAMES_AT_ONCE = 8


@dataclass(frozen=True)
class Detected:
    """What one frame shows: its faces, largest first, and the probability of each AU in each (F, A)."""

    image: np.ndarray  # uint8 RGB (H, W, 3)
    frame: int
    faces: list[Face]
    probabilities: np.ndarray


@dataclass(frozen=True)
class DetectionSummary:
    """What `detect_files` did. `unreadable`: one line per file of a folder that could not be read."""

    files: int
    frames: int
    faces: int
    unreadable: tuple[str, ...]


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

    Folders are searched for pictures and videos. A video's overlay shows its first frame with a face. `out`
    appears, or its files are replaced, only when all is done. Raises `UserError` for an input that does not
    exist or cannot be read; within a folder, unreadable files are left out and named in the summary.
    """
    out = Path(out)
    files = list_files(inputs)
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; choose a folder for the results")
    detector = FaceDetector(device, min_face)
    aside = out.with_name(out.name + ".detecting")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        summary = _detect_all(files, set(inputs), aside, detector, predict, aus, size, preset, progress)
        out.mkdir(exist_ok=True)
        for path in sorted(aside.iterdir()):
            path.replace(out / path.name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return summary


def list_files(inputs: Sequence[Path]) -> list[Path]:
    """The inputs with folders replaced by the pictures and videos in them, sorted. Raises `UserError`."""
    files: list[Path] = []
    for path in map(Path, inputs):
        if path.is_dir():
            inside = (file for file in path.rglob("*") if file.suffix.lower() in PICTURES | VIDEOS)
            files += sorted(file for file in inside if file.is_file())
        elif not path.exists():
            raise UserError(f"{path} does not exist")
        elif path.suffix.lower() not in PICTURES | VIDEOS:
            raise UserError(f"{path} is neither a picture nor a video of a known kind")
        else:
            files.append(path)
    if not files:
        raise UserError(f"no picture or video in {', '.join(map(str, inputs))}")
    return files


def _detect_all(
    files: list[Path],
    named: set[Path],
    out: Path,
    detector: FaceDetector,
    predict: Predict,
    aus: Sequence[int],
    size: int,
    preset: str,
    progress: bool,
) -> DetectionSummary:
    frames = faces = 0
    unreadable: list[str] = []
    overlays = _overlay_names(files)
    with (out / "aus.csv").open("w", newline="") as table, Progress(disable=not progress) as bar:
        writer = csv.writer(table)
        header = ["file", "frame", "face", "x0", "y0", "x1", "y1", "score"]
        writer.writerow(header + [au_name(number) for number in aus])
        for file in bar.track(files, description="detecting"):
            shown: Detected | None = None
            try:
                for found in _detect_file(file, detector, predict, len(aus), size, preset):
                    frames, faces = frames + 1, faces + len(found.faces)
                    writer.writerows(_table_rows(file, found))
                    if shown is None or (found.faces and not shown.faces):
                        shown = found
            except UserError as error:
                if file in named:
                    raise
                unreadable.append(str(error))
            if shown is not None:
                picture = draw_overlay(shown.image, shown.faces, shown.probabilities, aus)
                _, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
                (out / overlays[file]).write_bytes(data.tobytes())
    return DetectionSummary(len(files) - len(unreadable), frames, faces, tuple(unreadable))


def _detect_file(
    file: Path, detector: FaceDetector, predict: Predict, num_aus: int, size: int, preset: str
) -> Iterator[Detected]:
    is_video = file.suffix.lower() in VIDEOS
    images = read_video(file) if is_video else iter([read_picture(file)])
    frame = 1 if is_video else 0
    while chunk := list(islice(images, _FRAMES_AT_ONCE)):
        per_image = [sorted(faces, key=lambda face: -face.area) for faces in detector.detect(chunk)]
        crops = [align(image, face, size, preset) for image, faces in zip(chunk, per_image) for face in faces]
        probabilities = np.zeros((0, num_aus), np.float32)
        if crops:
            batch = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()  # (B, 3, H, W)
            probabilities = predict(batch).float().cpu().numpy()
        for image, faces in zip(chunk, per_image):
            yield Detected(image, frame, faces, probabilities[: len(faces)])
            probabilities = probabilities[len(faces) :]
            frame += 1


def _table_rows(file: Path, found: Detected) -> list[list[object]]:
    if not found.faces:
        return [[file, found.frame, 0, *[""] * (5 + found.probabilities.shape[1])]]
    return [
        [file, found.frame, number]
        + [f"{value:.1f}" for value in face.box]
        + [f"{face.score:.4f}", *(f"{value:.4f}" for value in values)]
        for number, (face, values) in enumerate(zip(found.faces, found.probabilities), 1)
    ]


def _overlay_names(files: list[Path]) -> dict[Path, str]:
    """A file name for each overlay: that of the input, numbered where two inputs share one."""
    names: dict[Path, str] = {}
    for file in files:
        name, number = f"{file.stem}.png", 1
        while name in names.values():
            number += 1
            name = f"{file.stem}-{number}.png"
        names[file] = name
    return names
