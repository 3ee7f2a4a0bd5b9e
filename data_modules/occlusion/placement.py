"""Where the parts of a face are: five points from any landmarks."""

import math
from functools import lru_cache

import numpy as np

from data_modules.errors import UserError
from data_modules.facs import CANONICAL_POINTS

# Index of the first eye point and of the mouth's left corner in the landmark sets in use: iBUG 68, the same
# without the two inner mouth corners (66), and both without the 17 jaw points (51 and 49).
_CANONICAL = np.array(CANONICAL_POINTS)
_EYE_STARTS = {68: 36, 66: 36, 51: 19, 49: 19}


@lru_cache(maxsize=64)
def canonical_points(height: int, width: int) -> np.ndarray:
    """Where alignment puts the five points of a frontal face, (5, 2) pixels; treat it as read-only."""
    return _CANONICAL * (width, height)


def five_points(landmarks: np.ndarray | None, height: int, width: int) -> np.ndarray:
    """Viewer's left eye, right eye, nose tip, left and right mouth corner: (5, 2) x, y in pixels.

    `landmarks` (P, 2) x, y in pixels holds 5 (these very points), 49, 51, 66 or 68 points (iBUG order); None
    gives the canonical places of an aligned crop. Raises `UserError` for any other number of points and
    for points that are not finite.
    """
    if landmarks is None:
        return canonical_points(height, width).copy()
    points, eye = checked_points(np.asarray(landmarks, np.float64))
    if eye < 0:
        return points
    left, right = (points[first : first + 6].mean(0) for first in (eye, eye + 6))
    return np.array([left, right, points[eye - 6], points[eye + 12], points[eye + 18]])


def checked_points(points: np.ndarray) -> tuple[np.ndarray, int]:
    """The landmarks, and the number of the first eye point; -1 where they are the five points themselves."""
    if len(points) != 5 and len(points) not in _EYE_STARTS:
        raise UserError(f"{len(points)} landmarks: expected 5, 49, 51, 66 or 68 points (iBUG order)")
    if not math.isfinite(points.sum()):
        raise UserError("landmarks must be finite numbers: leave them out where they are unknown")
    return points, _EYE_STARTS.get(len(points), -1)
