"""The user's own occluders: a folder of RGBA cut-outs, made ready to be scaled over a face."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data_modules.errors import UserError, shown
from data_modules.faces.pictures import read_picture

DIRECTIONS = 256
_OPAQUE = 128


@dataclass(frozen=True)
class Cutout:
    """One cut-out. `reach` is how far it extends from its middle in each direction, its mean being 1."""

    # (h, w, 3) uint8 RGB, powers of two; transparent pixels hold the nearest opaque colour
    colours: np.ndarray
    middle: tuple[float, float]  # x, y in pixels
    radius: float  # pixels that count as 1
    reach: np.ndarray  # (DIRECTIONS,)

    @classmethod
    def of(cls, rgba: np.ndarray) -> "Cutout":
        """(h, w, 4) uint8 RGBA -> Cutout; raises `UserError` when nothing in it is opaque."""
        opaque = rgba[..., 3] >= _OPAQUE
        if not opaque.any():
            raise UserError("the cut-out is transparent everywhere: its alpha channel must mark the object")
        rows, cols = np.nonzero(opaque)
        middle = (float(cols.mean()), float(rows.mean()))
        dx, dy = cols - middle[0], rows - middle[1]
        reach = np.zeros(DIRECTIONS)
        np.maximum.at(reach, _direction(dx, dy), np.hypot(dx, dy) + 0.5)
        known = np.flatnonzero(reach)
        reach = np.interp(np.arange(DIRECTIONS), known, reach[known], period=DIRECTIONS)
        return cls(
            to_power_of_two(_close_holes(rgba, opaque)), middle, float(reach.mean()), reach / reach.mean()
        )


def load_objects(folder: Path | str) -> tuple[Cutout, ...]:
    """All PNG and WebP cut-outs of a folder, in the order of their names.

    Raises `UserError` for a missing or empty folder and for a picture that cannot be read or is not transparent.
    """
    paths = sorted(path for path in Path(folder).glob("*") if path.suffix.lower() in (".png", ".webp"))
    if not paths:
        raise UserError(
            f"{shown(folder)} holds no PNG or WebP cut-outs: give a folder of pictures with transparency"
        )
    cutouts = []
    for path in paths:
        picture = read_picture(path, transparent=True)
        try:
            cutouts.append(Cutout.of(picture))
        except UserError as error:
            raise UserError(f"{shown(path)}: {error}") from None
    return tuple(cutouts)


def to_power_of_two(picture: np.ndarray) -> np.ndarray:
    """The picture with its last row and column repeated until both sides are powers of two."""
    bottom, right = ((1 << (side - 1).bit_length()) - side for side in picture.shape[:2])
    picture = np.ascontiguousarray(picture)
    return cv2.copyMakeBorder(picture, 0, bottom, 0, right, cv2.BORDER_REPLICATE)


def _direction(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The direction of (x, y) as a whole number from 0 to DIRECTIONS - 1."""
    turns = np.arctan2(y, x) / (2 * np.pi) + 0.5
    return (turns * DIRECTIONS).astype(int) % DIRECTIONS


def _close_holes(rgba: np.ndarray, opaque: np.ndarray) -> np.ndarray:
    """Give every transparent pixel the colour of the nearest opaque one -> (h, w, 3)."""
    _, labels = cv2.distanceTransformWithLabels(
        (~opaque).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colour_of = np.zeros((labels.max() + 1, 3), np.uint8)
    colour_of[labels[opaque]] = rgba[opaque][:, :3]
    return np.ascontiguousarray(colour_of[labels])
