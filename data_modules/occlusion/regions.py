"""Grid kinds that go for a region: `eyes`, `mouth`, `au_targeted` and `saliency`.

Each ranks the cells by how much they matter and hides the first round(severity·g²) of them. True = visible.
"""

from functools import lru_cache

import cv2
import numpy as np
from numba import njit

from data_modules.errors import UserError
from data_modules.facs import AUS, CANONICAL_POINTS, au_region
from data_modules.occlusion.chart import locate, unpacked
from data_modules.occlusion.grid import hide_first
from data_modules.occlusion.scene import Scene
from data_modules.streams import Draws

_PLACES = 100  # per side of the canonical crop
_FINE = 2  # region cover is measured at this many points per cell and side
_EYE_ASPECT, _MOUTH_ASPECT = 1.6, 1.5  # width over height of what grows
_LEFT_EYE, _RIGHT_EYE, _, _MOUTH, _ = CANONICAL_POINTS


def eyes_visible(draws: Draws, severity: float, scene: Scene) -> np.ndarray:
    """Grow out from both eyes -> (g, g) bool."""
    return _hide_ranked(
        draws, _eye_distance(scene.packed_chart, scene.grid, *scene.size), severity, scene.grid
    )


def mouth_visible(draws: Draws, severity: float, scene: Scene) -> np.ndarray:
    """Grow out from the mouth -> (g, g) bool."""
    return _hide_ranked(
        draws, _mouth_distance(scene.packed_chart, scene.grid, *scene.size), severity, scene.grid
    )


def au_targeted_visible(draws: Draws, severity: float, scene: Scene) -> np.ndarray:
    """Hide the cells that show the most of the chosen AUs (`scene.aus`, all by default) first -> (g, g) bool.

    A cell counts for each chosen AU whose region of the canonical crop it lies in, less for large regions,
    so the places where many small regions meet go first.
    """
    weights = _weights(tuple(scene.aus) or tuple(AUS))
    return _hide_ranked(
        draws, _au_rank(scene.packed_chart, weights, scene.grid, *scene.size), severity, scene.grid
    )


def saliency_visible(draws: Draws, severity: float, scene: Scene) -> np.ndarray:
    """Hide the cells with the most saliency first -> (g, g) bool.

    `scene.saliency` (h, w) float, of any size, covers the crop; any model's map will do. Raises `UserError`
    when it is missing or not finite.
    """
    if scene.saliency is None:
        raise UserError(
            "occlusion 'saliency' needs a saliency map (h, w) of the face: give one, or choose 'patches'"
        )
    if scene.saliency.ndim != 2 or not np.isfinite(scene.saliency).all():
        raise UserError(f"the saliency map must be (h, w) and finite, not {scene.saliency.shape}")
    importance = np.asarray(scene.saliency, np.float64)
    if importance.shape != (scene.grid, scene.grid):
        shrunk = cv2.resize(importance, (scene.grid, scene.grid), interpolation=cv2.INTER_AREA)
        importance = np.asarray(shrunk, np.float64)
    scale = np.abs(importance).max() or 1.0
    return _hide_ranked(draws, importance / -scale, severity, scene.grid)


def _hide_ranked(draws: Draws, rank: np.ndarray, severity: float, grid: int) -> np.ndarray:
    """Hide the cells of lowest `rank` (g, g) first; ties, to six digits, fall by the keyed stream."""
    place = rank.reshape(-1).round(6) + draws.uniforms(grid * grid) * 0.5e-6
    return hide_first(place.argsort(kind="stable"), severity, grid)


@njit(cache=True, error_model="numpy")
def _eye_distance(packed, grid, height, width):
    rank, chart = np.empty((grid, grid)), unpacked(packed)
    for i in range(grid):
        for j in range(grid):
            u, v = locate(chart, (j + 0.5) / grid * width, (i + 0.5) / grid * height)
            left = ((u - chart.left_u) * (1 / _EYE_ASPECT)) ** 2 + (v - chart.left_v) ** 2
            right = ((u - chart.right_u) * (1 / _EYE_ASPECT)) ** 2 + (v - chart.right_v) ** 2
            rank[i, j] = min(left, right)
    return rank


@njit(cache=True, error_model="numpy")
def _mouth_distance(packed, grid, height, width):
    rank, chart = np.empty((grid, grid)), unpacked(packed)
    for i in range(grid):
        for j in range(grid):
            u, v = locate(chart, (j + 0.5) / grid * width, (i + 0.5) / grid * height)
            rank[i, j] = ((u - chart.mouth_u) * (1 / _MOUTH_ASPECT)) ** 2 + (v - chart.mouth_v) ** 2
    return rank


@lru_cache(maxsize=64)
def _weights(aus: tuple[int, ...]) -> np.ndarray:
    """How much of these AUs each place of the canonical crop shows, (_PLACES, _PLACES); regions end on places."""
    weights = np.zeros((_PLACES, _PLACES))
    for au in aus:
        x0, y0, x1, y1 = (round(edge * _PLACES) for edge in au_region(au, "canonical"))
        weights[y0:y1, x0:x1] += _PLACES**2 / ((x1 - x0) * (y1 - y0))
    return weights


@njit(cache=True, error_model="numpy")
def _au_rank(packed, weights, grid, height, width):
    """Minus the weight of the AU regions that each cell shows, (g, g)."""
    rank, count, chart = np.zeros((grid, grid)), grid * _FINE, unpacked(packed)
    per_u = (_RIGHT_EYE[0] - _LEFT_EYE[0]) / max(chart.right_u - chart.left_u, 1e-3)
    for i in range(count):
        for j in range(count):
            u, v = locate(chart, (j + 0.5) / count * width, (i + 0.5) / count * height)
            x = int(np.floor(((_LEFT_EYE[0] + _RIGHT_EYE[0]) / 2 + u * per_u) * _PLACES))
            y = int(np.floor((_LEFT_EYE[1] + v * (_MOUTH[1] - _LEFT_EYE[1])) * _PLACES))
            if 0 <= x < _PLACES and 0 <= y < _PLACES:
                rank[i // _FINE, j // _FINE] -= weights[y, x]
    return rank
