"""Face coordinates that turn with the head.

Drawn occlusions are laid out in them and so sit on the right part of rolled and turned faces.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit

from data_modules.facs import CANONICAL_POINTS, shown_at
from data_modules.landmarks import first_eye_point

# Head geometry in units of the distance from the eye line to the mouth line, fitted to frontal adult faces.
_HEAD_RADIUS = 1.1
_EYE_DEPTH = 0.9  # how far the eyes lie in front of the head's axis, in head radii
# Sideways shift of the nose tip against the eyes when the head turns, per sine of the turn.
_NOSE_SWING = 0.47
_MAX_SINE = 0.85


@lru_cache(maxsize=64)
def aligned_points(height: int, width: int, preset: str) -> np.ndarray:
    """Where a crop by `preset` has the five points of a frontal face, (5, 2) pixels; treat it as read-only."""
    return np.array([shown_at(point, preset) for point in CANONICAL_POINTS]) * (width, height)


def packed_chart(landmarks: np.ndarray | None, height: int, width: int, preset: str) -> np.ndarray:
    """The numbers of a face's `Chart` in one array, which compiled code takes faster than a tuple; see `unpacked`.

    `landmarks` (P, 2) x, y in pixels, of a layout of `landmarks`; None puts the parts where a crop
    by `preset` has them.
    """
    if landmarks is None:
        return _measured(aligned_points(height, width, preset), -1)
    points = np.ascontiguousarray(landmarks, np.float64)
    return _measured(points, first_eye_point(points))


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
def unpacked(c):
    """The numbers of `packed_chart` -> the chart, within compiled code."""
    return Chart(
        c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8], c[9], c[10], c[11], c[12], c[13], c[14]
    )


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
def _measured(landmarks, eye):
    """The numbers of a chart from five points (`eye` -1), or from landmarks with the first eye point at `eye`."""
    points = landmarks
    if eye >= 0:
        points = np.zeros((5, 2))
        for k in range(6):
            points[0] += landmarks[eye + k] / 6
            points[1] += landmarks[eye + 6 + k] / 6
        points[2], points[3], points[4] = landmarks[eye - 6], landmarks[eye + 12], landmarks[eye + 18]
    origin_x, origin_y = (points[0, 0] + points[1, 0]) / 2, (points[0, 1] + points[1, 1]) / 2
    mouth_x, mouth_y = (points[3, 0] + points[4, 0]) / 2, (points[3, 1] + points[4, 1]) / 2
    eye_x, eye_y = _scaled(points[1, 0] - points[0, 0], points[1, 1] - points[0, 1])
    mid_x, mid_y = _scaled(mouth_x - origin_x, mouth_y - origin_y)
    down_x, down_y = _scaled(mid_x - eye_y, mid_y + eye_x)
    unit = max((mouth_x - origin_x) * down_x + (mouth_y - origin_y) * down_y, 1e-3)
    swing = (points[2, 0] - origin_x) * down_y - (points[2, 1] - origin_y) * down_x
    sine = min(max(swing / unit / _NOSE_SWING, -_MAX_SINE), _MAX_SINE)
    c = np.zeros(15)
    c[:8] = origin_x, origin_y, down_y / unit, -down_x / unit, down_x / unit, down_y / unit, unit, sine
    chart = unpacked(c)
    c[8:10] = locate(chart, points[0, 0], points[0, 1])
    c[10:12] = locate(chart, points[1, 0], points[1, 1])
    c[12:14] = locate(chart, mouth_x, mouth_y)
    c[14] = plane(chart, mouth_x, mouth_y)[0]
    return c


@njit(cache=True, error_model="numpy")
def _scaled(x, y):
    length = max(math.hypot(x, y), 1e-6)
    return x / length, y / length


@njit(cache=True, error_model="numpy")
def _angle(sine):
    """The arc sine's series up to the fifth power: close to it on the face, smooth beyond the outline."""
    square = sine * sine
    return sine * (1 + square * (1 / 6 + square * (3 / 40)))
