"""The lips: sealed whatever other action units do, or parted by a gap that can be seen.

A unit of length is the distance between the eyes / 0.62.
"""

import functools
from dataclasses import dataclass

import numpy as np

from data_modules.synthetic_faces.assets import SKIN, load_rig

_SEAM_Y = 6.608  # canonical height of the line between the lips
_MOUTH_HALF_WIDTH = 0.25
_PAIR_X = np.linspace(-0.21, 0.21, 15)  # where the lip gap is measured
_FULL_GAP = 0.20  # lip gap at AU25 intensity 5
_LEAST_GAP = 0.035  # parted lips show at least this gap


@dataclass(frozen=True)
class LipField:
    """K pairs of vertices across the seam, and how the mouth around them follows when they are moved."""

    upper: np.ndarray  # (K,) vertices on the inner rim of the upper lip
    lower: np.ndarray  # (K,) their partners on the lower lip
    mouth: np.ndarray  # (M,) vertices that follow when lips are moved together
    follow: np.ndarray  # (M, K) how much of each pair's gap they follow; + for upper, - for lower


@functools.cache
def lip_field() -> LipField:
    return LipField(*_lip_pairs(), *_closing_field())


def set_lips(points: np.ndarray, lips_part: bool) -> float:
    """Seal the lips of points (V, 3), in place, or keep them apart by a visible gap.

    Returns the AU25 intensity that the lip gap of the mesh then amounts to: 0 when sealed, else 1-5.
    """
    field = lip_field()
    gap = points[field.upper] - points[field.lower]  # (K, 3)
    if not lips_part:
        points[field.mouth] -= field.follow @ (gap * np.array([0.6, 1.0, 0.8], np.float32))
        return 0.0
    opening = _opening(gap)
    if opening < _LEAST_GAP:
        bow = np.clip(1.2 - (_PAIR_X / 0.19) ** 2, 0, 1)[:, None] * [0, _LEAST_GAP - opening, 0]
        points[field.mouth] += field.follow @ bow.astype(np.float32)
        opening = _LEAST_GAP
    return float(np.clip(1 + 4 * (opening - _LEAST_GAP) / (_FULL_GAP - _LEAST_GAP), 1, 5))


def _opening(gap: np.ndarray) -> float:
    """Mean height of the lip gap (K, 3) over the middle half of the mouth."""
    middle = len(_PAIR_X) // 2
    return float(gap[middle - 3 : middle + 4, 1].mean())


def _lip_pairs() -> tuple[np.ndarray, np.ndarray]:
    """Vertices that face each other across the seam of the lips, one pair for each of `_PAIR_X`."""
    rig = load_rig()
    points = rig.vertices
    skin = np.zeros(len(points), bool)
    skin[rig.triangles[rig.material == SKIN]] = True
    lips = np.flatnonzero(
        skin & (rig.lips > 0.3) & (points[:, 2] > 1.42) & (np.abs(points[:, 1] - _SEAM_Y) < 0.05)
    )

    def nearest(above: bool) -> np.ndarray:
        side = lips[(points[lips, 1] > _SEAM_Y) == above]
        cost = np.abs(points[side, 0] - _PAIR_X[:, None]) + np.abs(points[side, 1] - _SEAM_Y)
        return side[cost.argmin(1)]

    return nearest(True), nearest(False)


def _closing_field() -> tuple[np.ndarray, np.ndarray]:
    """How vertices around the mouth follow the closing lips: half the gap at the rim, fading over the lip."""
    points = load_rig().vertices
    rise = points[:, 1] - _SEAM_Y
    fade = np.exp(-((rise / 0.13) ** 2)) * _smoothstep(1.15, 1.35, points[:, 2])
    fade *= _smoothstep(_MOUTH_HALF_WIDTH + 0.06, _MOUTH_HALF_WIDTH - 0.04, np.abs(points[:, 0]))
    mouth = np.flatnonzero(fade > 0.01)
    hat = 1 - np.abs(points[mouth, :1] - _PAIR_X) / (_PAIR_X[1] - _PAIR_X[0])
    hat[points[mouth, 0] < _PAIR_X[0], 0] = 1
    hat[points[mouth, 0] > _PAIR_X[-1], -1] = 1
    follow = np.clip(hat, 0, 1) * (0.5 * fade[mouth] * np.where(rise[mouth] > 0, 1, -1))[:, None]
    return mouth, follow.astype(np.float32)


def _smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)
