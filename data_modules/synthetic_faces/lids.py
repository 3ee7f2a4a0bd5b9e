"""The eyelids: open by a gap that can be seen whatever narrows the eye, closed by a blink and no further."""

import numpy as np

from data_modules.synthetic_faces.kernels import add_rows
from data_modules.synthetic_faces.landmarks import landmark_vertices

_LEAST_GAP = 0.04  # open lids show at least this gap; unit: distance between the eyes / 0.62
_OVERLAP = 0.02  # how far closed lids may pass each other
# Landmarks above and below the middle of the subject's left and right eye.
_UPPER, _LOWER = [[43, 44], [37, 38]], [[47, 46], [41, 40]]

Rows = tuple[np.ndarray, np.ndarray]  # vertices (R,) and their offsets (R, 3)


def lid_gap(points: np.ndarray) -> np.ndarray:
    """Height (2,) of the subject's left and right eye in points (V, 3)."""
    height = points[landmark_vertices(), 1]
    return height[_UPPER].mean(1) - height[_LOWER].mean(1)


def lid_gain(rows: Rows, count: int, side: int) -> float:
    """How much a movement of a surface of `count` vertices raises the gap of one eye."""
    points = np.zeros((count, 3), np.float32)
    add_rows(points, np.float32(1), *rows)
    return float(lid_gap(points)[side])


def set_lids(
    points: np.ndarray, closing: np.ndarray, narrow: list[Rows], blink: list[Rows], gains: np.ndarray
) -> None:
    """Take back so much of the narrowing of points (V, 3), in place, that the eyes are open; then close them
    by `closing` (2,), 0-1.

    `narrow`, `blink`: the movements of the subject's left and right lids; `gains` (2, 2): how much each
    raises the gap, `lid_gain`.
    """
    gap = lid_gap(points)
    for side in (0, 1):
        if (missing := _LEAST_GAP - gap[side]) > 0:
            add_rows(points, np.float32(missing / gains[0, side]), *narrow[side])
        if closing[side]:
            most = (max(gap[side], _LEAST_GAP) + _OVERLAP) / -gains[1, side]
            add_rows(points, np.float32(min(closing[side], most)), *blink[side])
