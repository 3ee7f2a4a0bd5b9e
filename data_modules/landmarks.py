"""Facial landmarks: which point of which layout is what. Points are x, y; "left" is the viewer's.

The layouts in use: the 68 points of iBUG 300-W (jaw, brows, nose, eyes, mouth), the same without the two inner
mouth corners (66), both without the 17 jaw points (51 and 49), and the five points of face detectors: left eye,
right eye, nose tip, left mouth corner, right mouth corner.
"""

import math

import numpy as np

from data_modules.errors import UserError

# Places in the layout of 68.
LEFT_CORNER, RIGHT_CORNER, NOSE_TIP = 48, 54, 30
LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)
PARTS = {
    "left_brow": slice(17, 22),
    "right_brow": slice(22, 27),
    "left_eye": LEFT_EYE,
    "right_eye": RIGHT_EYE,
    "nose": slice(27, 36),
    "mouth": slice(48, 68),
    "face": slice(0, 68),
}
_JAW, _INNER_CORNERS = range(17), (60, 64)
_LEFT_OUT = {68: (), 66: _INNER_CORNERS, 51: (*_JAW,), 49: (*_JAW, *_INNER_CORNERS)}

# Which landmark of 68 stands at each place after mirroring the picture.
_MIRROR_68 = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1)]
    + [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    + [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)


def _kept(count: int) -> np.ndarray:
    """Which of the 68 points a layout of `count` has, (count,)."""
    return np.setdiff1d(np.arange(68), _LEFT_OUT[count])


# By number of points: the places after mirroring, and the place of the first eye point (-1: the five points).
MIRROR_ORDERS = {
    5: np.array([1, 0, 2, 4, 3]),
    **{count: np.searchsorted(_kept(count), _MIRROR_68[_kept(count)]) for count in _LEFT_OUT},
}
_FIRST_EYE = {5: -1, **{n: int(np.searchsorted(_kept(n), LEFT_EYE.start)) for n in _LEFT_OUT}}


def first_eye_point(landmarks: np.ndarray) -> int:
    """The number of the first of twelve eye points of landmarks (P, 2); -1 where they are the five points themselves.

    Raises `UserError` for another number of points than a layout has, and for points that are not finite.
    """
    if len(landmarks) not in _FIRST_EYE:
        raise UserError(f"{len(landmarks)} landmarks: expected 5, 49, 51, 66 or 68 points (iBUG order)")
    if not math.isfinite(landmarks.sum()):
        raise UserError("landmarks must be finite numbers: leave them out where they are unknown")
    return _FIRST_EYE[len(landmarks)]


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks (P, 2) of any layout -> left eye, right eye, nose tip, left and right mouth corner (5, 2) float64.

    Raises `UserError` as `first_eye_point` does.
    """
    points = np.array(landmarks, np.float64)
    if (eye := first_eye_point(points)) < 0:
        return points
    left, right = (points[first : first + 6].mean(0) for first in (eye, eye + 6))
    return np.array([left, right, points[eye - 6], points[eye + 12], points[eye + 18]])
