"""Face coordinates that turn with the head.

Drawn occlusions are laid out in them and so sit on the right part of rolled and turned faces.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

# Head geometry in units of the distance from the eye line to the mouth line, fitted to frontal adult faces.
_HEAD_RADIUS = 1.1
_EYE_DEPTH = 0.9  # how far the eyes lie in front of the head's axis, in head radii
_NOSE_SWING = (
    0.47  # sideways shift of the nose tip against the eyes when the head turns, per sine of the turn
)
_MAX_SINE = 0.85


class Chart(NamedTuple):
    """Face coordinates (u, v) of picture points, in units of the distance between eye line and mouth line.

    The face is taken as a vertical cylinder: u runs around it from the middle of the face (u = 0) to the
    viewer's right, v down it from the eye line (0) to the mouth line (1). On a head turned away, equal steps
    of u shrink on the far side as they do in the picture. All plain numbers, so compiled code can read it.
    """

    origin_x: float  # middle of the eyes, pixels
    origin_y: float
    across_x: float  # a step of one pixel, in units, along the eyes
    across_y: float
    down_x: float  # a step of one pixel, in units, from the eyes to the mouth
    down_y: float
    unit: float  # pixels
    sine: float  # of the turn; positive when the nose points to the viewer's right
    left_u: float  # the viewer's left eye
    left_v: float
    right_u: float  # the viewer's right eye
    right_v: float
    mouth_u: float  # the middle of the mouth
    mouth_v: float
    mouth_x: float  # the same on the flat axes of `plane`, where its v is the same

    @classmethod
    def of(cls, points: np.ndarray) -> "Chart":
        """The chart of a face with the five points of `five_points`, (5, 2) pixels."""
        left, right, nose, mouth_left, mouth_right = (tuple(point) for point in points.tolist())
        origin, mouth = _middle(left, right), _middle(mouth_left, mouth_right)
        eye_x, eye_y = _scaled(right[0] - left[0], right[1] - left[1])
        mid_x, mid_y = _scaled(mouth[0] - origin[0], mouth[1] - origin[1])
        down_x, down_y = _scaled(mid_x - eye_y, mid_y + eye_x)
        unit = max((mouth[0] - origin[0]) * down_x + (mouth[1] - origin[1]) * down_y, 1e-3)
        swing = ((nose[0] - origin[0]) * down_y - (nose[1] - origin[1]) * down_x) / unit / _NOSE_SWING
        sine = min(max(swing, -_MAX_SINE), _MAX_SINE)
        frame = (*origin, down_y / unit, -down_x / unit, down_x / unit, down_y / unit, unit, sine)
        return cls(*frame, *_parts(frame, left, right, mouth))

    def place(self, across: float, down: float) -> tuple[float, float]:
        """Flat face axes in chart units -> pixels."""
        area = self.unit * self.unit
        return (
            self.origin_x + area * (across * self.across_x + down * self.down_x),
            self.origin_y + area * (across * self.across_y + down * self.down_y),
        )

    @property
    def middle(self) -> tuple[float, float]:
        """The middle of the visible face between brow and chin, on the flat axes."""
        return -0.45 * self.sine, 0.5


@njit(cache=True, error_model="numpy")
def plane(chart, x, y):
    """Pixels -> flat face axes in chart units, without the turn."""
    dx, dy = x - chart.origin_x, y - chart.origin_y
    return dx * chart.across_x + dy * chart.across_y, dx * chart.down_x + dy * chart.down_y


@njit(cache=True, error_model="numpy")
def locate(chart, x, y):
    """Pixels -> (u, v); beyond the head's outline u goes on smoothly."""
    across, down = plane(chart, x, y)
    turned = across * (1 / _HEAD_RADIUS) + chart.sine * _EYE_DEPTH
    return _HEAD_RADIUS * (_angle(turned) - _angle(chart.sine)), down


@njit(cache=True, error_model="numpy")
def off_head(chart, x, y):
    """How far pixels lie beyond the head's outline, ears included, in chart units; negative within."""
    across, _ = plane(chart, x, y)
    return abs(across + chart.sine * (_EYE_DEPTH * _HEAD_RADIUS)) - _HEAD_RADIUS


@njit(cache=True, error_model="numpy")
def _parts(frame, left, right, mouth):
    """(u, v) of the eyes and the mouth, and the mouth's place along the eyes."""
    chart = Chart(*frame, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)  # type: ignore[call-arg]
    seen = (*locate(chart, left[0], left[1]), *locate(chart, right[0], right[1]))
    return (*seen, *locate(chart, mouth[0], mouth[1]), plane(chart, mouth[0], mouth[1])[0])


@njit(cache=True, error_model="numpy")
def _angle(sine):
    """The arc sine's series up to the fifth power: close to it on the face, smooth beyond the outline."""
    square = sine * sine
    return sine * (1 + square * (1 / 6 + square * (3 / 40)))


def _middle(one: tuple[float, ...], other: tuple[float, ...]) -> tuple[float, float]:
    return (one[0] + other[0]) / 2, (one[1] + other[1]) / 2


def _scaled(x: float, y: float) -> tuple[float, float]:
    length = max(math.hypot(x, y), 1e-6)
    return x / length, y / length
