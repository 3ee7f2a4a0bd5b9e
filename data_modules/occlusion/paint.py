"""Drawn occlusions: from a growth field to the exact mask and the painted picture. True = visible.

A drawn occlusion is a field over the crop that says how far the object must have grown, or come in, before it
hides a point. Severity s hides the s-share of points with the smallest values. That makes masks nested and
monotone whatever the shape, and the hidden share as wanted until the object ends (`Drawing.limit`).
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numba import njit

from data_modules.occlusion.fill import mean_colour
from data_modules.occlusion.scene import Scene

_BAND = 0.15  # field values count this far from the object's edge: a jump further out must not draw lines
NODES = 64  # the field is given on NODES x NODES points spread evenly over the crop
_LIGHT = (-0.35, -0.6)  # where light comes from: shadows fall the other way, times the shadow's reach
_FIXED = 16  # bits behind the point of a position on a texture


class Surface(NamedTuple):
    """How the object looks at one stage of its growth. Lengths are fractions of the crop's width."""

    texture: np.ndarray  # (h, w, 3) uint8, wrapped; h and w are powers of two
    placing: np.ndarray  # (2, 3) crop fractions (x, y, 1) -> texture fractions
    shade: np.ndarray | None  # (NODES, NODES) float32, times the texture's colour; None = 1 everywhere
    rim_colour: tuple[float, float, float] = (0.0, 0.0, 0.0)  # 0-255
    rim_width: float = 0.0  # of the band along the object's edge
    rim_strength: float = 0.0  # 0-1
    softness: float = 0.006  # width of the edge over which object and face mix
    shadow: float = 0.35  # darkness of the cast shadow, 0-1
    shadow_reach: float = 0.03
    exposed: bool = True  # fit its brightness to the picture's light
    outline: np.ndarray | None = None  # (NODES, NODES) float32, below 0 inside; by default field - level


class Drawing(NamedTuple):
    """An object placed on a face.

    Where an object has sides that stand still while it grows, the field jumps and says little about where
    they run between two nodes; such an object gives its outline at each level, which must shrink nowhere.
    """

    field: np.ndarray  # (NODES, NODES) float32, smallest first hidden
    limit: float  # field value at which the object ends; infinite where it has no natural size
    surface: Callable[[float], Surface]  # given the field value (level) that the object has grown to


def growth_level(drawing: Drawing, severity: float) -> float | None:
    """The field value that hides `severity` of the nodes, or the object's end; None when nothing is."""
    values = drawing.field.reshape(-1)
    count = round(severity * values.size)
    if count == 0:
        return None
    if count == values.size:
        return min(float(values.max()), drawing.limit)
    # Half-way between two nodes, so that no rounding on another machine moves a node across.
    below, above = np.partition(values, (count - 1, count))[count - 1 : count + 1].tolist()
    return min((below + above) / 2, drawing.limit)


def paint(scene: Scene, drawing: Drawing, severity: float) -> tuple[np.ndarray, np.ndarray]:
    """-> (picture (H, W, 3) uint8, visible (H, W) bool, True = visible).

    A pixel is hidden where the object covers at least half of it; within the soft edge the face shines
    through hidden pixels and the object through visible ones. The cast shadow darkens visible pixels.
    """
    level = growth_level(drawing, severity)
    picture, visible = scene.image.copy(), np.ones(scene.size, bool)
    if level is None:
        return picture, visible
    surface = drawing.surface(level)
    height, width = scene.size
    tile_h, tile_w = surface.texture.shape[:2]
    placing = surface.placing * (
        (tile_w / width, tile_w / height, tile_w),
        (tile_h / width, tile_h / height, tile_h),
    )
    reach = surface.shadow_reach * width
    outline = (drawing.field, level) if surface.outline is None else (surface.outline, 0.0)
    field, dark = _edge_and_shadow(*outline, width, height, surface.shadow, reach)
    exposure = _exposure(scene.image) if surface.exposed else 1.0
    _composite(
        picture,
        visible,
        field,
        dark,
        surface.texture,
        placing,
        _light(surface.shade, exposure, height, width),
        np.array(surface.rim_colour, np.float32) * np.float32(exposure),
        np.float32(surface.rim_width * width),
        np.float32(surface.rim_strength),
        np.float32(max(surface.softness * width, 0.7)),
        *_between(width),
        *_between(height),
    )
    return picture, visible


def _light(shade: np.ndarray | None, exposure: float, height: int, width: int) -> np.ndarray:
    """What the texture's colours are multiplied by, in fixed-point numbers, (H, W) float32."""
    if shade is None:
        return np.full((height, width), exposure * (1 << _FIXED), np.float32)
    light = cv2.resize(shade * np.float32(exposure * (1 << _FIXED)), (width, height))
    return np.asarray(light, np.float32)


def _exposure(image: np.ndarray) -> float:
    """Gain that fits the object to the picture's light: an average picture gives 1."""
    red, green, blue = mean_colour(image)
    return min(max((0.3 * red + 0.6 * green + 0.1 * blue) / 120, 0.55), 1.15)


@lru_cache(maxsize=64)
def _between(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of a side lies between two nodes, and whose first pixels these are.

    -> the way from the one node to the other (length,) float32 in [0, 1), and the first pixel that lies
    behind each node (NODES,).
    """
    place = np.clip((np.arange(length) + 0.5) * (NODES / length) - 0.5, 0, NODES - 1.000001)
    node = place.astype(np.int64)
    return (place - node).astype(np.float32), np.searchsorted(node, np.arange(NODES))


@njit(cache=True, error_model="numpy")
def _edge_and_shadow(field, level, width, height, strength, reach):
    """The field against `level`, within ±_BAND, and what light the cast shadow leaves: (N, N) float32 each.

    The shadow is the object seen from where the light is, with an edge of twice its reach.
    """
    count = field.shape[0]
    edge = np.empty((count, count), np.float32)
    dark = np.ones((count, count), np.float32)
    for i in range(count):
        for j in range(count):
            edge[i, j] = min(max(np.float32(field[i, j] - level), np.float32(-_BAND)), np.float32(_BAND))
    if strength <= 0.0:
        return edge, dark
    per_x, per_y = count / width, count / height
    for i in range(count):
        sy = min(max(i + _LIGHT[1] * reach * per_y, 0.0), count - 1.000001)
        p = int(sy)
        fy = sy - p
        for j in range(count):
            if abs(edge[i, j]) >= np.float32(_BAND):
                continue
            sx = min(max(j + _LIGHT[0] * reach * per_x, 0.0), count - 1.000001)
            q = int(sx)
            fx = sx - q
            a, b, c, d = edge[p, q], edge[p, q + 1], edge[p + 1, q], edge[p + 1, q + 1]
            slope_x, slope_y = ((b - a) + (d - c)) * 0.5 * per_x, ((c - a) + (d - b)) * 0.5 * per_y
            value = (a * (1 - fx) + b * fx) * (1 - fy) + (c * (1 - fx) + d * fx) * fy
            inside = -value / (np.sqrt(slope_x * slope_x + slope_y * slope_y) + 1e-9)  # pixels
            lit = min(max(0.5 + inside / (2 * reach + 1e-9), 0.0), 1.0)
            dark[i, j] = 1.0 - strength * lit * lit * (3 - 2 * lit)
    return edge, dark


_OUTSIDE, _EDGE, _DEEP = 0, 1, 2


@njit(cache=True, error_model="numpy")
def _composite(
    picture,
    visible,
    field,
    dark,
    texture,
    placing,
    light,
    rim_colour,
    rim,
    rim_strength,
    softness,
    across,
    starts,
    down,
    tops,
):
    """Paint the object, which is where `field` <= 0, over `picture` and clear `visible` beneath it.

    Goes through the cells between four nodes. Far outside nothing changes, and deep inside there is neither
    edge nor shadow. Places on the texture are fixed-point numbers; its sides are powers of two, so wrapping
    is a bit mask.
    """
    height, width = visible.shape
    count = field.shape[0]
    zero, one, top = np.float32(0.0), np.float32(1.0), np.float32(255.0)
    wrap_u, wrap_v = (texture.shape[1] << _FIXED) - 1, (texture.shape[0] << _FIXED) - 1
    step_u, step_v = math.floor(placing[0, 0] * (1 << _FIXED)), math.floor(placing[1, 0] * (1 << _FIXED))
    per_x, per_y = np.float32(count / width), np.float32(count / height)
    kinds = np.empty(count, np.int8)
    value, rest = np.empty(count, np.float32), np.empty(count, np.float32)
    for i in range(count - 1):
        low, high = _sort_cells(field, i, kinds)
        for y in range(tops[i], tops[i + 1]):
            fy, line = down[y], np.uint64(y)
            row_u = math.floor((placing[0, 1] * y + placing[0, 2]) * (1 << _FIXED))
            row_v = math.floor((placing[1, 1] * y + placing[1, 2]) * (1 << _FIXED))
            for j in range(low, high + 2):
                # Sums of two products keep masks nested when rounded, which a + (b - a)·f would not.
                value[j] = field[i, j] * (one - fy) + field[i + 1, j] * fy
                rest[j] = dark[i, j] * (one - fy) + dark[i + 1, j] * fy
            j = low
            while j <= high:
                begin = j
                j += 1
                if kinds[begin] == _DEEP:
                    while j <= high and kinds[j] == _DEEP:
                        j += 1
                    # Whole numbers, and addresses that cannot be negative: most of the work is done here.
                    for x in range(starts[begin], starts[j]):
                        col = np.uint64(((row_u + step_u * x) & wrap_u) >> _FIXED)
                        row = np.uint64(((row_v + step_v * x) & wrap_v) >> _FIXED)
                        at = np.uint64(x)
                        gain = max(np.int32(light[line, at]), 0)
                        picture[line, at, 0] = min((texture[row, col, 0] * gain) >> _FIXED, 255)
                        picture[line, at, 1] = min((texture[row, col, 1] * gain) >> _FIXED, 255)
                        picture[line, at, 2] = min((texture[row, col, 2] * gain) >> _FIXED, 255)
                        visible[line, at] = False
                elif kinds[begin] == _EDGE:
                    slope_x = (value[j] - value[begin]) * per_x
                    slope_y = (field[i + 1, begin] - field[i, begin]) + (field[i + 1, j] - field[i, j])
                    slope_y *= np.float32(0.5) * per_y
                    per_value = one / (math.sqrt(slope_x * slope_x + slope_y * slope_y) + np.float32(1e-9))
                    for x in range(starts[begin], starts[j]):
                        fx, at = across[x], np.uint64(x)
                        here = value[begin] * (one - fx) + value[j] * fx
                        inside = -here * per_value  # pixels
                        cover = min(max(np.float32(0.5) + inside / softness, zero), one)
                        left = (rest[begin] + (rest[j] - rest[begin]) * fx) * (one - cover)
                        visible[line, at] = here > zero
                        edge = zero
                        if inside < rim:
                            edge = rim_strength * min((rim - inside) / (np.float32(0.4) * rim), one)
                        gain = max(light[line, at], zero) * np.float32(1 / (1 << _FIXED))
                        col = np.uint64(((row_u + step_u * x) & wrap_u) >> _FIXED)
                        row = np.uint64(((row_v + step_v * x) & wrap_v) >> _FIXED)
                        for k in range(3):
                            colour = min(texture[row, col, k] * gain, top)
                            colour += (rim_colour[k] - colour) * edge
                            mixed = picture[line, at, k] * left + colour * cover
                            picture[line, at, k] = np.uint8(mixed + np.float32(0.5))


@njit(cache=True, error_model="numpy")
def _sort_cells(field, i, kinds):
    """What each cell between node rows i and i + 1 is; returns the first and last that are not outside."""
    high, low = np.float32(_BAND), np.float32(-_BAND)
    first, last = field.shape[0], -2
    for j in range(field.shape[0] - 1):
        a, b, c, d = field[i, j], field[i, j + 1], field[i + 1, j], field[i + 1, j + 1]
        kinds[j] = _EDGE
        if a <= low and b <= low and c <= low and d <= low:
            kinds[j] = _DEEP
        if a >= high and b >= high and c >= high and d >= high:
            kinds[j] = _OUTSIDE
        else:
            first, last = min(first, j), j
    return first, last
