"""Grid kinds that go for a region: `eyes`, `mouth`, `au_targeted` and `saliency`.

Each ranks the cells by how much they matter and hides the first round(severity·g²) of them. True = visible.
"""

from collections import Counter

import cv2
import numpy as np

from data_modules.errors import UserError
from data_modules.facs import AUS, CANONICAL_POINTS, au_region
from data_modules.occlusion.grid import hide_first
from data_modules.occlusion.scene import Scene

_FINE = 2  # region cover is measured at this many points per cell and side


def eyes_visible(rng: np.random.Generator, severity: float, scene: Scene) -> np.ndarray:
    """Grow out from both eyes -> (g, g) bool."""
    u, v = _chart_of_cells(scene)
    distances = [np.hypot((u - eye_u) / 1.6, v - eye_v) for eye_u, eye_v in scene.chart.eyes]
    return _hide_ranked(rng, np.minimum(*distances), severity, scene.grid)


def mouth_visible(rng: np.random.Generator, severity: float, scene: Scene) -> np.ndarray:
    """Grow out from the mouth -> (g, g) bool."""
    u, v = _chart_of_cells(scene)
    mouth_u, mouth_v = scene.chart.mouth
    return _hide_ranked(rng, np.hypot((u - mouth_u) / 1.5, v - mouth_v), severity, scene.grid)


def au_targeted_visible(rng: np.random.Generator, severity: float, scene: Scene) -> np.ndarray:
    """Hide the cells that show the most of the chosen AUs (`scene.aus`, all by default) first -> (g, g) bool.

    A cell counts for each chosen AU whose region of the canonical crop it lies in, less for large regions,
    so the places where many small regions meet go first.
    """
    grid = scene.grid
    x, y = _canonical(scene, *_points(scene, grid * _FINE))
    score = np.zeros_like(x)
    for (x0, y0, x1, y1), aus in Counter(au_region(au) for au in scene.aus or AUS).items():
        score += ((x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1)) * (aus / ((x1 - x0) * (y1 - y0)))
    cover = score.reshape(grid, _FINE, grid, _FINE).mean((1, 3))
    return _hide_ranked(rng, -cover, severity, grid)


def saliency_visible(rng: np.random.Generator, severity: float, scene: Scene) -> np.ndarray:
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
    importance = cv2.resize(
        scene.saliency.astype(np.float64), (scene.grid, scene.grid), interpolation=cv2.INTER_AREA
    )
    scale = np.abs(importance).max() or 1.0
    return _hide_ranked(rng, -importance / scale, severity, scene.grid)


def _hide_ranked(rng: np.random.Generator, rank: np.ndarray, severity: float, grid: int) -> np.ndarray:
    """Hide the cells of lowest `rank` (g, g) first; ties, to six digits, fall by the keyed stream."""
    order = np.lexsort((rng.permutation(grid * grid), rank.reshape(-1).round(6)))
    return hide_first(order, severity, grid)


def _points(scene: Scene, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres of a count x count grid over the crop, in pixels: x and y, each (count, count)."""
    steps = (np.arange(count) + 0.5) / count
    x, y = np.meshgrid(steps * scene.width, steps * scene.height)
    return x, y


def _chart_of_cells(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    return scene.chart.locate(*_points(scene, scene.grid))


def _canonical(scene: Scene, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels -> fractions of the canonical crop, where AU regions are given."""
    u, v = scene.chart.locate(x, y)
    left, right, _, mouth, _ = CANONICAL_POINTS
    wide = (right[0] - left[0]) / max(scene.chart.eyes[1][0] - scene.chart.eyes[0][0], 1e-3)
    return (left[0] + right[0]) / 2 + u * wide, left[1] + v * (mouth[1] - left[1])
