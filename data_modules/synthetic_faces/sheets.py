"""Contact sheets: random faces, single AUs, left-only and right-only AUs."""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from data_modules import files
from data_modules.errors import UserError, shown
from data_modules.synthetic_faces.clip import draw_clip
from data_modules.synthetic_faces.draw import draw_frame, draw_identity
from data_modules.synthetic_faces.renderer import Frame, render_frame
from data_modules.synthetic_faces.sampler import PRESENCE_THRESHOLD, RENDERED_AUS
from data_modules.synthetic_faces.scene import Scene, studio_scene

_MARK = "fau_mae contact sheet"  # near the start of each file
_HEAD = 1000  # bytes
_STEP = 8  # frames of a clip from one tile to the next
_PARTING = (16, 22, 25, 27)  # single AUs that are shown with parted lips
_COMBINATIONS = (
    (6, 12),
    (6, 12, 25),
    (1, 2, 5, 25, 26),
    (1, 4, 15, 17),
    (4, 7, 23),
    (9, 10, 17),
    (17, 24),
    (20, 25),
)


def check_sheet(path: Path) -> None:
    """Before any work: `path` can become a sheet. Raises `UserError`."""
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UserError(f"--preview {shown(path)}: the name must end in .png or .jpg")
    files.check_file(path)
    files.check_ours(path, _is_sheet)


def preview_sheet(
    path: Path, seed: int = 0, size: int = 224, columns: int = 8, rows: int = 5, style_name: str = "bp4d"
) -> Path:
    """Write a sheet of random faces, one identity each, with the AUs they show. See `check_sheet`."""
    tiles = []
    for number in range(columns * rows):
        frame = draw_frame(draw_identity(seed, number), seed, number % 5, size, style_name)
        tiles.append(_caption(frame.image, _present(frame)))
    return _write(path, tiles, columns)


def clip_sheet(
    path: Path, seed: int = 0, size: int = 224, columns: int = 8, rows: int = 4, style_name: str = "bp4d"
) -> Path:
    """Write a sheet of clips, one person a row: every eighth frame, with the AUs it shows."""
    tiles = []
    for number in range(rows):
        clip = draw_clip(draw_identity(seed, number), seed, columns * _STEP, size, style_name, _STEP)
        tiles += [_caption(frame.image, _present(frame)) for frame in clip]
    return _write(path, tiles, columns)


def _present(frame: Frame) -> str:
    shown = [str(au) for au, level in zip(RENDERED_AUS, frame.intensity) if level >= PRESENCE_THRESHOLD]
    return "+".join(shown) or "neutral"


def au_sheet(path: Path, seed: int, numbers: list[int], size: int = 160, columns: int = 8) -> Path:
    """Write a sheet of every AU at intensity 5, and common combinations, on each of the identities
    `numbers`."""
    tiles = []
    for number in numbers:
        identity = draw_identity(seed, number)
        for aus in [(), *((au,) for au in RENDERED_AUS), *_COMBINATIONS]:
            image = render_frame(
                identity, _strength(aus), bool({*aus} & {*_PARTING}), studio_scene(), size
            ).image
            tiles.append(_caption(image, "+".join(map(str, aus)) or "neutral"))
        tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    return _write(path, tiles, columns)


def sides_sheet(path: Path, seed: int, number: int, size: int = 160, columns: int = 10) -> Path:
    """Write a sheet of AUs on the subject's left side only, then on the right only (the viewer's left)."""
    identity = draw_identity(seed, number)
    tiles = []
    for au in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 43):
        for side, name in ((0, "left"), (1, "right")):
            strength = _strength((au,))
            strength[:, 1 - side] = 0
            image = render_frame(identity, strength, False, studio_scene(), size).image
            tiles.append(_caption(image, f"{au} {name}"))
    return _write(path, tiles, columns)


def poses_sheet(path: Path, seed: int, number: int, size: int = 160) -> Path:
    """Write a sheet of one smiling face turned through yaw (columns) and pitch (rows), with its landmarks."""
    identity = draw_identity(seed, number)
    tiles = []
    for pitch in (-0.25, 0.0, 0.25):
        for yaw in (-0.6, -0.3, 0.0, 0.3, 0.6):
            scene: Scene = studio_scene(yaw, pitch)
            frame = render_frame(identity, _strength((6, 12)), False, scene, size)
            marked = frame.image.copy()
            for x, y in frame.landmarks:
                cv2.circle(marked, (round(8 * x), round(8 * y)), 10, (90, 255, 90), -1, cv2.LINE_AA, 3)
            tiles.append(_caption(marked, f"yaw {yaw:+.1f} pitch {pitch:+.2f}"))
    return _write(path, tiles, 5)


def _strength(aus: tuple[int, ...]) -> np.ndarray:
    strength = np.zeros((len(RENDERED_AUS), 2), np.float32)
    strength[[RENDERED_AUS.index(au) for au in aus]] = 1
    return strength


def _caption(image: np.ndarray, text: str) -> np.ndarray:
    image = image.copy()
    scale = 0.3 + image.shape[0] / 1600
    for colour, thickness in (((0, 0, 0), 2), ((255, 255, 120), 1)):
        cv2.putText(image, text, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA)
    return image


def _write(path: Path, tiles: list[np.ndarray], columns: int) -> Path:
    """Tiles (S, S, 3) of one size, row by row, into one picture; written aside, then renamed."""
    sheet = np.vstack([np.hstack(tiles[k : k + columns]) for k in range(0, len(tiles), columns)])
    data = io.BytesIO()
    if path.suffix.lower() == ".png":
        note = PngInfo()
        note.add_text("Software", _MARK)
        Image.fromarray(sheet).save(data, "PNG", pnginfo=note)
    else:
        Image.fromarray(sheet).save(data, "JPEG", quality=85, comment=_MARK)
    files.write_bytes(path, data.getvalue())
    return path


def _is_sheet(path: Path) -> bool:
    with path.open("rb") as file:
        return _MARK.encode() in file.read(_HEAD)
