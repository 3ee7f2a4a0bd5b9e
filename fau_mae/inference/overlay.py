"""A picture with its faces marked, what is hidden of them tinted, and a bar per AU beside it."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data_modules.faces.alignment import Face, crop_matrix
from data_modules.facs import AUS, au_name
from fau_mae.inference.predictor import Reading

_FACE_COLOURS = (
    (230, 85, 13),
    (33, 113, 181),
    (35, 139, 69),
    (117, 107, 177),
    (150, 110, 40),
    (190, 50, 110),
)
_INK, _FAINT, _PAPER, _DIM = (34, 34, 34), (225, 225, 225), (255, 255, 255), (150, 150, 150)
_HIDDEN = np.array([120, 30, 140], np.float32)  # tint of hidden patches
_SHORTEST, _LONGEST = 480, 960  # pixels of the picture's side in the overlay
_PANEL, _ROW, _HEAD, _MARGIN = 384, 26, 40, 16


def draw_overlay(
    image: np.ndarray, faces: Sequence[Face], reading: Reading, aus: Sequence[int], preset: str
) -> np.ndarray:
    """uint8 RGB (H, W, 3), its faces, crops by `preset`, and what was read of them -> an overlay, uint8 RGB.

    Boxes, five points and tinted hidden patches on the picture; at the side, one bar per AU for each face, in the
    colour of its box: bold where the AU is there, grey and without a figure where it is hidden, and at its end how
    sure that is.
    """
    scale = _scale(image)
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    picture = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if reading.visible is not None:
        for face, visible in zip(faces, reading.visible):
            picture = _tinted(picture, face, visible, scale, preset)
    height, width = picture.shape[:2]
    tall = _HEAD + _ROW * len(aus) + _MARGIN
    stacked = max(1, height // tall)  # panels above one another
    columns = max(1, -(-len(faces) // stacked))
    page = Image.new("RGB", (width + columns * _PANEL, max(height, tall)), _PAPER)
    page.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(page)
    for number, face in enumerate(faces):
        colour = _FACE_COLOURS[number % len(_FACE_COLOURS)]
        _mark(draw, face, scale, colour, str(number + 1))
        corner = width + number // stacked * _PANEL, number % stacked * tall
        _bars(draw, corner, number, float(face.score), reading, aus)
    if not faces:
        draw.text((width + _MARGIN, _MARGIN), "no face found", _INK, _font(18))
    return np.asarray(page)


def _tinted(picture: np.ndarray, face: Face, visible: np.ndarray, scale: float, preset: str) -> np.ndarray:
    """The picture with the hidden tokens of one face tinted; `visible` (N,), True = visible."""
    grid = round(len(visible) ** 0.5)
    scaled = face._replace(points=face.points * scale, box=face.box * scale)
    tokens = (~visible).reshape(grid, grid).astype(np.float32)
    matrix = crop_matrix(scaled, grid, preset)
    # Each pixel looks up the token it lies in.
    weight = cv2.warpAffine(
        tokens, matrix, picture.shape[1::-1], flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    )
    weight = 0.55 * weight[..., None]
    return (picture * (1 - weight) + _HIDDEN * weight).round().astype(np.uint8)


def _scale(image: np.ndarray) -> float:
    height, width = image.shape[:2]
    return min(_LONGEST / max(height, width), max(1.0, _SHORTEST / height))


def _mark(
    draw: ImageDraw.ImageDraw, face: Face, scale: float, colour: tuple[int, int, int], name: str
) -> None:
    x0, y0, x1, y1 = (float(value) * scale for value in face.box)
    draw.rectangle((x0, y0, x1, y1), outline=colour, width=3)
    for x, y in (face.points + 0.5) * scale:
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour, outline=_PAPER)
    draw.rectangle((x0, y0 - 20, x0 + 18, y0), fill=colour)
    draw.text((x0 + 9, y0 - 10), name, _PAPER, _font(14), anchor="mm")


def _bars(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    number: int,
    score: float,
    reading: Reading,
    aus: Sequence[int],
) -> None:
    """One panel: a heading and one row per AU with its number, FACS name, bar, probability and how sure that is."""
    left, top = corner
    colour = _FACE_COLOURS[number % len(_FACE_COLOURS)]
    pale = tuple((channel + 2 * 255) // 3 for channel in colour)
    draw.text((left + _MARGIN, top + 10), f"Face {number + 1}", colour, _font(18))
    about = f"finder {score:.2f}"
    if reading.visible is not None:
        about += f" · {1 - reading.visible[number].mean():.0%} hidden"
    sure = not np.isnan(reading.observable[number]).all()
    draw.text((left + 100, top + 13), about, _INK, _font(13))
    right = left + _PANEL - _MARGIN
    if sure:
        draw.text((right, top + 13), "sure", _DIM, _font(13), anchor="ra")
    start, stop = left + 212, right - 84
    rows = zip(aus, reading.probabilities[number], reading.present[number], reading.observable[number])
    for row, (au, value, present, observable) in enumerate(rows):
        y = top + _HEAD + row * _ROW
        lost = bool(np.isnan(present))
        ink = _DIM if lost else _INK
        draw.text((left + _MARGIN, y + 11), au_name(au), ink, _font(14), anchor="lm")
        if au in AUS:
            draw.text((left + 66, y + 11), AUS[au].name, ink, _font(13), anchor="lm")
        draw.rectangle((start, y + 4, stop, y + 18), fill=_FAINT)
        if lost:
            draw.text(((start + stop) // 2, y + 11), "hidden", _DIM, _font(13), anchor="mm")
            continue
        end = start + round(float(np.clip(value, 0, 1)) * (stop - start))
        if end > start:
            draw.rectangle((start, y + 4, end, y + 18), fill=colour if present else pale)
        draw.text((right - 44, y + 11), f"{value:.2f}", _INK, _font(14), anchor="rm")
        if sure:
            draw.text((right, y + 11), f"{observable:.2f}", _DIM, _font(13), anchor="rm")


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
