"""A picture with its faces marked and a bar for the probability of each AU beside it."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data_modules.faces.alignment import Face
from data_modules.facs import AUS, au_name

_FACE_COLOURS = ((230, 85, 13), (33, 113, 181), (35, 139, 69))  # the first faces; also how many get bars
_INK, _FAINT, _PAPER = (34, 34, 34), (225, 225, 225), (255, 255, 255)
_SHORTEST, _LONGEST = 480, 960  # pixels of the picture's side in the overlay
_PANEL, _ROW, _HEAD, _MARGIN = 360, 26, 40, 16


def draw_overlay(
    image: np.ndarray, faces: Sequence[Face], probabilities: np.ndarray, aus: Sequence[int]
) -> np.ndarray:
    """uint8 RGB (H, W, 3), its faces and their AU probabilities (F, A) -> an overlay, uint8 RGB.

    Boxes and five points on the picture; at the side, one bar per AU for the first three faces, in the colour
    of their boxes. Probabilities from one half on are in bold colour.
    """
    scale = _scale(image)
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    picture = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    height, width = picture.shape[:2]
    shown = min(len(faces), len(_FACE_COLOURS))
    panels = max(shown, 1)
    page_height = max(height, _HEAD + _ROW * len(aus) + _MARGIN)
    page = Image.new("RGB", (width + panels * _PANEL, page_height), _PAPER)
    page.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(page)
    for number, face in enumerate(faces):
        _mark(draw, face, scale, _FACE_COLOURS[min(number, len(_FACE_COLOURS) - 1)], str(number + 1))
    for number in range(shown):
        _bars(draw, width + number * _PANEL, number, float(faces[number].score), probabilities[number], aus)
    if not shown:
        draw.text((width + _MARGIN, _MARGIN), "no face found", _INK, _font(18))
    return np.asarray(page)


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
    draw: ImageDraw.ImageDraw, left: int, number: int, score: float, values: np.ndarray, aus: Sequence[int]
) -> None:
    """One panel: a heading and one row per AU with its number, FACS name, bar and probability."""
    colour = _FACE_COLOURS[number]
    pale = tuple((channel + 2 * 255) // 3 for channel in colour)
    draw.text((left + _MARGIN, 10), f"Face {number + 1}", colour, _font(18))
    draw.text((left + _PANEL - _MARGIN, 13), f"detector {score:.2f}", _INK, _font(13), anchor="ra")
    start, stop = left + 212, left + _PANEL - _MARGIN - 44
    for row, (au, value) in enumerate(zip(aus, values)):
        y = _HEAD + row * _ROW
        draw.text((left + _MARGIN, y + 11), au_name(au), _INK, _font(14), anchor="lm")
        if au in AUS:
            draw.text((left + 66, y + 11), AUS[au].name, _INK, _font(13), anchor="lm")
        draw.rectangle((start, y + 4, stop, y + 18), fill=_FAINT)
        end = start + round(float(np.clip(value, 0, 1)) * (stop - start))
        if end > start:
            draw.rectangle((start, y + 4, end, y + 18), fill=colour if value >= 0.5 else pale)
        draw.text((left + _PANEL - _MARGIN, y + 11), f"{value:.2f}", _INK, _font(14), anchor="rm")
    middle = (start + stop) // 2
    draw.line((middle, _HEAD, middle, _HEAD + _ROW * len(aus) - 4), fill=_INK, width=1)


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
