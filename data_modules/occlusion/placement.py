"""Where the parts of a face are: five points from any landmarks, and a chart that turns with the head.

Drawn occlusions are laid out in the chart and so sit on the right part of rolled and turned faces.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from data_modules.errors import UserError
from data_modules.facs import CANONICAL_POINTS

# Head geometry in units of the distance from the eye line to the mouth line, fitted to frontal adult faces.
_HEAD_RADIUS = 1.1
_EYE_DEPTH = 0.9  # how far the eyes lie in front of the head's axis, in head radii
_NOSE_SWING = (
    0.47  # sideways shift of the nose tip against the eyes when the head turns, per sine of the turn
)
_MAX_SINE = 0.85

FloatOrArray = TypeVar("FloatOrArray", float, np.ndarray)

# Index of the first eye point and of the mouth's left corner in the landmark sets in use: iBUG 68, the same
# without the two inner mouth corners (66), and both without the 17 jaw points (51 and 49).
_EYE_STARTS = {68: 36, 66: 36, 51: 19, 49: 19}


def five_points(landmarks: np.ndarray | None, height: int, width: int) -> np.ndarray:
    """Viewer's left eye, right eye, nose tip, left and right mouth corner: (5, 2) x, y in pixels.

    `landmarks` (P, 2) x, y in pixels holds 5 (these very points), 49, 51, 66 or 68 points (iBUG order); None
    gives the canonical places of an aligned crop. Raises `UserError` for any other number of points.
    """
    if landmarks is None:
        return np.array(CANONICAL_POINTS) * (width, height)
    points = np.asarray(landmarks, np.float64)
    if len(points) == 5:
        return points
    if len(points) not in _EYE_STARTS:
        raise UserError(f"{len(points)} landmarks: expected 5, 49, 51, 66 or 68 points (iBUG order)")
    eye = _EYE_STARTS[len(points)]
    eyes = [points[eye : eye + 6].mean(0), points[eye + 6 : eye + 12].mean(0)]
    return np.stack([*eyes, points[eye - 6], points[eye + 12], points[eye + 18]])


@dataclass(frozen=True)
class Chart:
    """Face coordinates (u, v) of picture points, in units of the distance between eye line and mouth line.

    The face is taken as a vertical cylinder: u runs around it from the middle of the face (u = 0) to the
    viewer's right, v down it from the eye line (0) to the mouth line (1). On a head turned away, equal steps
    of u shrink on the far side as they do in the picture.
    """

    origin: np.ndarray  # (2,) middle of the eyes, pixels
    across: np.ndarray  # (2,) unit vector along the eyes
    down: np.ndarray  # (2,) unit vector from the eyes to the mouth
    unit: float  # pixels
    sine: float  # of the turn; positive when the nose points to the viewer's right
    points: np.ndarray  # (5, 2) the five points, pixels

    @classmethod
    def of(cls, points: np.ndarray) -> "Chart":
        """The chart of a face with these five points, (5, 2) pixels."""
        left, right, nose, mouth_left, mouth_right = points
        origin, mouth = (left + right) / 2, (mouth_left + mouth_right) / 2
        eye_line, midline = _unit(right - left), _unit(mouth - origin)
        down = _unit(midline + np.array([-eye_line[1], eye_line[0]]))
        across = np.array([down[1], -down[0]])
        unit = max(float((mouth - origin) @ down), 1e-3)
        sine = float(np.clip((nose - origin) @ across / unit / _NOSE_SWING, -_MAX_SINE, _MAX_SINE))
        return cls(origin, across, down, unit, sine, points)

    @cached_property
    def eyes(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """(u, v) of the viewer's left and right eye."""
        u, v = self.locate(self.points[:2, 0], self.points[:2, 1])
        return (float(u[0]), float(v[0])), (float(u[1]), float(v[1]))

    @cached_property
    def mouth(self) -> tuple[float, float]:
        """(u, v) of the middle of the mouth."""
        u, v = self.locate(*self.points[3:].mean(0))
        return float(u), float(v)

    def plane(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels -> flat face axes in chart units, without the turn."""
        dx, dy = (x - self.origin[0]) / self.unit, (y - self.origin[1]) / self.unit
        return dx * self.across[0] + dy * self.across[1], dx * self.down[0] + dy * self.down[1]

    def on_head(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Whether pixels lie within the head's outline, ears included; what is worn ends there."""
        return np.abs(self.plane(x, y)[0] / _HEAD_RADIUS + self.sine * _EYE_DEPTH) < 1.0

    @property
    def middle(self) -> np.ndarray:
        """The middle of the visible face between brow and chin, (2,) pixels."""
        return self.origin + self.unit * (0.5 * self.down - 0.45 * self.sine * self.across)

    def locate(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels -> (u, v); beyond the head's outline u goes on smoothly."""
        across, down = self.plane(x, y)
        turned = across / _HEAD_RADIUS + self.sine * _EYE_DEPTH
        return _HEAD_RADIUS * (_angle(turned) - _angle(self.sine)), down


def _angle(sine: FloatOrArray) -> FloatOrArray:
    """The arc sine's series up to the fifth power: close to it on the face, smooth beyond the outline."""
    square = sine * sine
    return sine * (1 + square * (1 / 6 + square * (3 / 40)))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.hypot(*vector)), 1e-6)
