"""The skin texture's layout: the face unrolled from a vertical cylinder, and brushes that paint on it.

Brushes take places as the front view shows them: x, y in canonical decimetres, the subject's left at +x.
"""

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit

from data_modules.synthetic_faces.assets import SKIN, load_rig
from data_modules.synthetic_faces.kernels import rasterize, weights_at

AXIS_Z = 0.35  # the cylinder's axis
RADIUS = 1.0
TEXELS = 160  # per decimetre
HALF_WIDTH = 1.75  # of the unrolled face, decimetres of arc
TOP, BOTTOM = 8.45, 6.0
WIDTH, HEIGHT = int(2 * HALF_WIDTH * TEXELS), int((TOP - BOTTOM) * TEXELS)


def unroll(points: np.ndarray) -> np.ndarray:
    """Canonical points (..., 3) -> texel coordinates (..., 2)."""
    arc = RADIUS * np.arctan2(points[..., 0], points[..., 2] - AXIS_Z)
    return np.stack([(arc + HALF_WIDTH) * TEXELS, (TOP - points[..., 1]) * TEXELS], -1).astype(np.float32)


@dataclass(frozen=True)
class Atlas:
    """The canonical surface under each texel, and the texel under each place of the front view."""

    position: np.ndarray  # (H, W, 3) float32
    lips: np.ndarray  # (H, W) float32, 1 on the red of the lips
    front_arc: np.ndarray  # (H, W) float32: arc of the surface seen from the front, on a grid of x and y

    @property
    def x(self) -> np.ndarray:
        return self.position[..., 0]

    @property
    def y(self) -> np.ndarray:
        return self.position[..., 1]


@functools.cache
def atlas() -> Atlas:
    rig = load_rig()
    triangles = rig.triangles[rig.material == SKIN]
    texel = unroll(rig.vertices)
    across = np.ptp(texel[triangles][..., 0], axis=1) < WIDTH / 4  # not those that cross the seam behind
    triangles = triangles[across]
    both_sides = np.zeros(len(triangles), bool)
    distance = np.hypot(rig.vertices[:, 0], rig.vertices[:, 2] - AXIS_Z)
    screen = np.column_stack([texel, -distance]).astype(np.float32)
    number = rasterize(screen, triangles, both_sides, HEIGHT, WIDTH)[1]
    values = np.column_stack([rig.vertices, rig.lips]).astype(np.float32)
    surface = _interpolate(values, screen, triangles, number)
    empty = number < 0
    arc, height = np.meshgrid(
        (np.arange(WIDTH) + 0.5) / TEXELS - HALF_WIDTH, TOP - (np.arange(HEIGHT) + 0.5) / TEXELS
    )
    surface[empty] = np.stack([np.sin(arc), height, AXIS_Z + np.cos(arc), 0 * arc], -1)[empty]
    return Atlas(surface[..., :3], cv2.GaussianBlur(surface[..., 3], (0, 0), 1.0), _front_arc(triangles))


def _front_arc(triangles: np.ndarray) -> np.ndarray:
    points = load_rig().vertices
    screen = np.column_stack(
        [(points[:, 0] + HALF_WIDTH) * TEXELS, (TOP - points[:, 1]) * TEXELS, -points[:, 2]]
    )
    screen = screen.astype(np.float32)
    number = rasterize(screen, triangles, np.zeros(len(triangles), bool), HEIGHT, WIDTH)[1]
    depth = _interpolate(points, screen, triangles, number)[..., 2]
    x = (np.arange(WIDTH) + 0.5) / TEXELS - HALF_WIDTH
    return cv2.GaussianBlur(np.arctan2(x, np.maximum(depth - AXIS_Z, 0.05)) * RADIUS, (0, 0), 2).astype(
        np.float32
    )


@njit(cache=True)
def _interpolate(values, screen, triangles, number):
    """Vertex values (V, C) at each pixel of a picture of triangle numbers (H, W): (H, W, C)."""
    half = np.float32(0.5)
    image = np.zeros((number.shape[0], number.shape[1], values.shape[1]), np.float32)
    for row in range(number.shape[0]):
        for column in range(number.shape[1]):
            t = number[row, column]
            if t >= 0:
                a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
                w1, w2 = weights_at(screen, a, b, c, np.float32(column) + half, np.float32(row) + half)
                for k in range(values.shape[1]):
                    first = values[a, k]
                    image[row, column, k] = first + w1 * (values[b, k] - first) + w2 * (values[c, k] - first)
    return image


def texel_of(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Places in the front view -> texel coordinates (..., 2)."""
    row = np.clip((TOP - y) * TEXELS, 0, HEIGHT - 1).astype(np.int64)
    column = np.clip((x + HALF_WIDTH) * TEXELS, 0, WIDTH - 1).astype(np.int64)
    return np.stack([(atlas().front_arc[row, column] + HALF_WIDTH) * TEXELS, (TOP - y) * TEXELS], -1)


@functools.lru_cache(maxsize=8)  # those that every face has
def blob(x: float, y: float, rx: float, ry: float) -> np.ndarray:
    """A soft spot (H, W), 1 at its middle, mirrored to the other side of the face unless x = 0; read-only."""
    layout = atlas()
    rise = ((layout.y - y) / ry) ** 2
    spot = np.exp(-(((layout.x - x) / rx) ** 2) - rise)
    if x:
        spot += np.exp(-(((layout.x + x) / rx) ** 2) - rise)
    spot = spot * (layout.position[..., 2] > AXIS_Z)
    spot.flags.writeable = False
    return spot


def strokes(lines: np.ndarray, thickness: int, strength: float = 1.0, detail: int = 3) -> np.ndarray:
    """Short straight hairs (n, 2, 2) of front-view places -> coverage (H, W) in 0-1."""
    canvas = np.zeros((HEIGHT * detail, WIDTH * detail), np.float32)
    ends = np.round(texel_of(lines[..., 0], lines[..., 1]) * detail).astype(np.int32)  # (n, 2, 2)
    cv2.polylines(canvas, list(ends), False, strength, thickness, cv2.LINE_AA)
    return cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def crease(places: list[tuple[float, float]], width: float) -> np.ndarray:
    """A furrow (H, W) along a smooth line through `places`, deepest (1) in its middle; mirrored."""
    knots = np.array(places)
    order = min(len(knots) - 1, 2)
    along = np.arange(len(knots))
    t = np.linspace(0, len(knots) - 1, 48)
    line = np.stack([np.polyval(np.polyfit(along, knots[:, axis], order), t) for axis in (0, 1)], -1)
    texels = np.concatenate([texel_of(side * line[:, 0], line[:, 1]) for side in (1, -1)])  # (96, 2)
    weight = np.tile(np.sin(np.pi * np.linspace(0.03, 0.97, 48)) ** 0.6, 2)
    canvas = np.zeros((HEIGHT, WIDTH), np.float32)
    for (u, v), depth in zip(texels, weight):
        if 0 <= int(u) < WIDTH and 0 <= int(v) < HEIGHT:
            canvas[int(v), int(u)] = max(canvas[int(v), int(u)], depth)
    soft = cv2.GaussianBlur(canvas, (0, 0), width * TEXELS * 0.6)
    return soft / max(float(soft.max()), 1e-6)


_COARSE = 4  # noise of few cells is summed at a quarter of the texels
_FEW_CELLS = 70


def noise(rng: np.random.Generator, octaves: tuple[int, ...], fade: float = 0.6) -> np.ndarray:
    """Smooth noise (H, W) of unit variance; `octaves` = cells across the width, each `fade` weaker than the
    last."""
    coarse = np.zeros((HEIGHT // _COARSE, WIDTH // _COARSE), np.float32)
    total = np.zeros((HEIGHT, WIDTH), np.float32)
    for level, cells in enumerate(octaves):
        grid = rng.standard_normal((max(2, cells * HEIGHT // WIDTH), cells), np.float32)
        layer = coarse if cells <= _FEW_CELLS else total
        layer += fade**level * cv2.resize(grid, layer.shape[::-1], interpolation=cv2.INTER_CUBIC)
    if octaves[0] <= _FEW_CELLS:
        total += cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return total / total.std()
