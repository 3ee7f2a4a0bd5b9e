"""Expression wrinkles: one height map per AU on the skin atlas, in decimetres, added by the AU's strength."""

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit

from data_modules.synthetic_faces.atlas import atlas, blob, crease
from data_modules.synthetic_faces.sampler import RENDERED_AUS

Places = list[tuple[float, float]]


@dataclass(frozen=True)
class Relief:
    """Furrows (line, width, depth) and bulges (x, y, rx, ry, height), heights in units of `_UNIT`."""

    furrows: tuple[tuple[Places, float, float], ...] = ()
    bulges: tuple[tuple[float, float, float, float, float], ...] = ()


COARSEST = 3  # halvings of the skin atlas for small pictures
_UNIT = 0.011  # decimetres: depth of an average furrow at full strength
_DIMPLED_CHIN = tuple(
    (x, y, 0.015, 0.015, -0.9)
    for x, y in (
        (0.0, 6.36),
        (0.05, 6.38),
        (0.1, 6.35),
        (0.03, 6.32),
        (0.08, 6.31),
        (0.05, 6.27),
        (0.12, 6.3),
        (0.0, 6.29),
    )
)

RELIEFS: dict[int, Relief] = {
    1: Relief((
        ([(-0.2, 7.62), (0, 7.60), (0.2, 7.62)], 0.016, 0.8),
        ([(-0.24, 7.69), (0, 7.67), (0.24, 7.69)], 0.016, 1.0),
        ([(-0.2, 7.77), (0, 7.75), (0.2, 7.77)], 0.016, 0.8),
    ), ((0.09, 7.5, 0.08, 0.04, 0.3),)),
    2: Relief((
        ([(0.2, 7.60), (0.34, 7.63), (0.5, 7.57)], 0.015, 0.8),
        ([(0.18, 7.68), (0.34, 7.71), (0.52, 7.64)], 0.016, 1.0),
        ([(0.2, 7.76), (0.34, 7.79), (0.5, 7.73)], 0.016, 0.7),
    )),
    4: Relief((
        ([(0.05, 7.36), (0.058, 7.45), (0.07, 7.54)], 0.02, 1.6),
        ([(0.0, 7.38), (0.0, 7.44), (0.0, 7.5)], 0.013, 0.5),
        ([(-0.06, 7.335), (0, 7.325), (0.06, 7.335)], 0.013, 0.6),
    ), ((0.12, 7.43, 0.06, 0.05, 0.7), (0.022, 7.44, 0.02, 0.05, 0.5))),
    6: Relief((
        ([(0.5, 7.28), (0.57, 7.29), (0.64, 7.32)], 0.012, 0.8),
        ([(0.5, 7.25), (0.57, 7.24), (0.64, 7.245)], 0.012, 0.8),
        ([(0.49, 7.22), (0.55, 7.19), (0.61, 7.16)], 0.012, 0.8),
        ([(0.18, 7.17), (0.31, 7.12), (0.46, 7.17)], 0.018, 0.9),
    ), ((0.36, 7.04, 0.13, 0.07, 1.0),)),
    7: Relief((([(0.19, 7.2), (0.31, 7.18), (0.44, 7.21)], 0.013, 0.9),), ((0.31, 7.215, 0.1, 0.02, 0.4),)),
    9: Relief((
        ([(-0.09, 7.26), (0, 7.275), (0.09, 7.26)], 0.013, 1.0),
        ([(-0.1, 7.205), (0, 7.22), (0.1, 7.205)], 0.013, 1.0),
        ([(0.06, 7.21), (0.09, 7.14), (0.12, 7.05)], 0.013, 0.9),
        ([(0.1, 7.25), (0.14, 7.19), (0.17, 7.13)], 0.013, 0.8),
        ([(0.16, 6.95), (0.2, 6.87), (0.23, 6.79)], 0.018, 0.9),
    )),
    10: Relief((([(0.16, 6.96), (0.22, 6.86), (0.27, 6.75)], 0.024, 1.5),), ((0.31, 6.9, 0.09, 0.08, 0.6),)),
    12: Relief((([(0.18, 6.93), (0.29, 6.81), (0.36, 6.63)], 0.026, 1.2),), ((0.39, 6.9, 0.12, 0.1, 0.6),)),
    14: Relief(
        (([(0.285, 6.69), (0.305, 6.61), (0.285, 6.53)], 0.026, 2.6),
         ([(0.34, 6.68), (0.36, 6.61), (0.34, 6.54)], 0.014, 0.8)),
        ((0.35, 6.6, 0.035, 0.07, 1.0),),
    ),
    15: Relief((([(0.25, 6.6), (0.285, 6.52), (0.3, 6.42)], 0.02, 1.3),),
               ((0.2, 6.42, 0.06, 0.05, 0.5), (0.34, 6.5, 0.04, 0.07, 0.4))),
    17: Relief((([(-0.13, 6.41), (0, 6.43), (0.13, 6.41)], 0.022, 1.7),), _DIMPLED_CHIN),
    20: Relief((
        ([(0.33, 6.74), (0.38, 6.61), (0.37, 6.46)], 0.02, 1.3),
        ([(0.41, 6.7), (0.45, 6.6), (0.44, 6.48)], 0.016, 0.7),
        ([(-0.14, 6.41), (0, 6.4), (0.14, 6.41)], 0.02, 0.5),
    )),
    23: Relief(tuple(
        ([(x, top), (x * 1.04, (top + low) / 2), (x * 1.08, low)], 0.012, 1.1)
        for x, top, low in ((0.03, 6.79, 6.71), (0.085, 6.785, 6.7), (0.14, 6.77, 6.68), (0.04, 6.49, 6.41),
                            (0.1, 6.5, 6.42))
    ), ((0.0, 6.755, 0.12, 0.03, 0.6), (0.0, 6.44, 0.12, 0.03, 0.6))),
    24: Relief(
        (([(-0.15, 6.47), (0, 6.46), (0.15, 6.47)], 0.018, 1.2),
         ([(0.27, 6.66), (0.285, 6.6), (0.27, 6.55)], 0.018, 0.8)),
        ((0.0, 6.73, 0.17, 0.035, 0.7), (0.0, 6.51, 0.17, 0.03, 0.6)),
    ),
}  # fmt: skip


@functools.cache
def wrinkle_maps() -> np.ndarray:
    """Height maps (A, H, W) float32, symmetric; zero for AUs that do not crease the skin."""
    layout = atlas()
    maps = np.zeros((len(RENDERED_AUS), *layout.lips.shape), np.float32)
    for number, relief in RELIEFS.items():
        height = np.zeros_like(layout.lips)
        for places, width, depth in relief.furrows:
            height -= depth * crease(places, width)
        for x, y, rx, ry, amount in relief.bulges:
            height += amount * blob(x, y, rx, ry)
        maps[RENDERED_AUS.index(number)] = _UNIT * cv2.GaussianBlur(height, (0, 0), 1.0)
    return maps


def halve(image: np.ndarray, times: int) -> np.ndarray:
    """A map on the skin atlas (H, W, …) at half the texels, so many times."""
    size = image.shape[1] >> times, image.shape[0] >> times
    return image if not times else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


@functools.cache
def _creases(halvings: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wrinkle maps (A, H, W), the bounds (A, 4) of what is not flat in each (top, bottom, left, right), and
    the subject's left (H, W): 1 there, 0 on the right, soft between."""
    maps = np.stack([halve(relief, halvings) for relief in wrinkle_maps()])
    bounds = np.zeros((len(maps), 4), np.int64)
    for row, relief in enumerate(maps):
        steep = np.abs(relief) > 1e-3 * _UNIT
        if steep.any():
            rows, columns = np.flatnonzero(steep.any(1)), np.flatnonzero(steep.any(0))
            bounds[row] = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    left = np.clip(halve(atlas().x, halvings) / 0.12 + 0.5, 0, 1).astype(np.float32)
    return maps, bounds, left


def expression_relief(rest: np.ndarray, halvings: int, strength: np.ndarray, depth: float) -> np.ndarray:
    """The face's own relief `rest` (H, W) plus the wrinkles of AU strengths (A, 2), scaled by the skin's
    `depth`; all maps halved `halvings` times."""
    relief = rest.copy()
    _add_creases(relief, *_creases(halvings), (depth * strength**1.2).astype(np.float32))
    return relief


@njit(cache=True, fastmath=True, error_model="numpy")
def _add_creases(relief, maps, bounds, left, weight):
    for a in range(len(maps)):
        on_right, difference = weight[a, 1], weight[a, 0] - weight[a, 1]
        if on_right == 0 and difference == 0:
            continue
        for row in range(bounds[a, 0], bounds[a, 1]):
            for column in range(bounds[a, 2], bounds[a, 3]):
                relief[row, column] += maps[a, row, column] * (on_right + difference * left[row, column])
