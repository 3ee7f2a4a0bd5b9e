"""Drawn occlusions: from a growth field to the exact mask and the painted picture. True = visible.

A drawn occlusion is a field over the crop that says how far the object must have grown, or come in, before it
hides a point. Severity s hides the s-share of points with the smallest values. That makes masks nested and
monotone whatever the shape, and the hidden share as wanted until the object ends (`Drawing.limit`).
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numba import njit

from data_modules.occlusion.scene import Scene

_BAND = 0.15  # field values count this far from the object's edge: a jump further out must not draw lines
NODES = 72  # the field is given on NODES x NODES points spread evenly over the crop
_LIGHT = (-0.35, -0.6)  # where light comes from: shadows fall the other way, times the shadow's reach


class Surface(NamedTuple):
    """How the object looks. Lengths are fractions of the crop's width."""

    texture: np.ndarray  # (T, T, 3) uint8, wrapped
    placing: np.ndarray  # (2, 3) crop fractions (x, y, 1) -> texture fractions
    shade: np.ndarray  # (NODES, NODES) float32, times the texture's colour
    rim_colour: tuple[float, float, float] = (0.0, 0.0, 0.0)  # 0-255
    rim_width: float = 0.0  # of the band along the object's edge
    rim_strength: float = 0.0  # 0-1
    softness: float = 0.006  # width of the edge over which object and face mix
    shadow: float = 0.35  # darkness of the cast shadow, 0-1
    shadow_reach: float = 0.03
    exposed: bool = True  # fit its brightness to the picture's light


class Drawing(NamedTuple):
    """An object placed on a face."""

    field: np.ndarray  # (NODES, NODES) float64, smallest first hidden
    limit: float  # field value at which the object ends; infinite where it has no natural size
    surface: Callable[[float], Surface]  # given the field value the object has grown to


def nodes(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Pixel positions of the field's nodes: x (1, NODES) and y (NODES, 1)."""
    steps = (np.arange(NODES) + 0.5) / NODES
    return steps[None] * scene.width, steps[:, None] * scene.height


def growth_level(drawing: Drawing, severity: float) -> float | None:
    """The field value that hides `severity` of the nodes, or the object's end; None when nothing is."""
    values = drawing.field.reshape(-1)
    count = round(severity * values.size)
    if count == 0:
        return None
    if count == values.size:
        return min(float(values.max()), drawing.limit)
    # Half-way between two nodes, so that no rounding on another machine moves a node across.
    below, above = np.partition(values, (count - 1, count))[count - 1 : count + 1]
    return min(float(below + above) / 2, drawing.limit)


def paint(scene: Scene, drawing: Drawing, severity: float) -> tuple[np.ndarray, np.ndarray]:
    """-> (picture (H, W, 3) uint8, visible (H, W) bool, True = visible).

    A pixel is hidden where the object covers at least half of it; within the soft edge the face shines
    through hidden pixels and the object through visible ones. The cast shadow darkens visible pixels.
    """
    level = growth_level(drawing, severity)
    picture, visible = scene.image.copy(), np.ones(scene.image.shape[:2], bool)
    if level is None:
        return picture, visible
    surface = drawing.surface(level)
    _composite(
        picture,
        visible,
        np.clip(drawing.field - level, -_BAND, _BAND),
        surface.texture,
        surface.placing / (scene.width, scene.height, 1),
        surface.shade,
        _exposure(scene.image) if surface.exposed else 1.0,
        np.array(surface.rim_colour, np.float64),
        np.array(
            [surface.rim_width, surface.rim_strength, surface.softness, surface.shadow, surface.shadow_reach]
        ),
    )
    return picture, visible


def _exposure(image: np.ndarray) -> float:
    """Gain that fits the object to the picture's light: an average picture gives 1."""
    red, green, blue = cv2.mean(image)[:3]
    return float(np.clip((0.3 * red + 0.6 * green + 0.1 * blue) / 120, 0.55, 1.15))


@njit(cache=True, error_model="numpy")
def _composite(picture, visible, field, texture, placing, shade, exposure, rim_colour, lengths):
    """Paint the object, which is where `field` <= 0, over `picture` and clear `visible` beneath it.

    Field values lie within ±_BAND. Most pixels have the same extreme value at all four nodes around them and
    are done at once: far outside nothing changes, deep inside there is neither edge nor shadow.
    """
    height, width = visible.shape
    count = field.shape[0]
    tile_h, tile_w = texture.shape[0], texture.shape[1]
    rim, rim_strength = lengths[0] * width, lengths[1]
    softness, shadow, reach = max(lengths[2] * width, 0.7), lengths[3], lengths[4] * width
    per_x, per_y = count / width, count / height
    for y in range(height):
        node_y = min(max((y + 0.5) * per_y - 0.5, 0.0), count - 1.000001)
        i = int(node_y)
        fy = node_y - i
        for x in range(width):
            node_x = min(max((x + 0.5) * per_x - 0.5, 0.0), count - 1.000001)
            j = int(node_x)
            fx = node_x - j
            a, b, c, d = field[i, j], field[i, j + 1], field[i + 1, j], field[i + 1, j + 1]
            if a == _BAND and b == _BAND and c == _BAND and d == _BAND:
                continue
            cover, edge = 1.0, 0.0
            if a > -_BAND or b > -_BAND or c > -_BAND or d > -_BAND:
                top, bottom = (
                    a * (1 - fx) + b * fx,
                    c * (1 - fx) + d * fx,
                )  # monotone, so nested, when rounded
                value = top * (1 - fy) + bottom * fy
                visible[y, x] = value > 0
                slope_x = ((b - a) * (1 - fy) + (d - c) * fy) * per_x
                slope_y = (bottom - top) * per_y
                inside = -value / (np.sqrt(slope_x * slope_x + slope_y * slope_y) + 1e-9)  # pixels
                cover = min(max(0.5 + inside / softness, 0.0), 1.0)
                if rim > 0.0 and inside < rim:
                    edge = rim_strength * min((rim - inside) / (0.4 * rim), 1.0)
                if cover < 1.0 and shadow > 0.0:
                    dark = 1.0 - shadow * _shadow(field, node_x, node_y, reach, per_x, per_y)
                    for k in range(3):
                        picture[y, x, k] = np.uint8(picture[y, x, k] * dark + 0.5)
                if cover == 0.0:
                    continue
            else:
                visible[y, x] = False
            down = placing[1, 0] * x + placing[1, 1] * y + placing[1, 2]
            across = placing[0, 0] * x + placing[0, 1] * y + placing[0, 2]
            row = min(int((down - np.floor(down)) * tile_h), tile_h - 1)
            col = min(int((across - np.floor(across)) * tile_w), tile_w - 1)
            upper = shade[i, j] + (shade[i, j + 1] - shade[i, j]) * fx
            lower = shade[i + 1, j] + (shade[i + 1, j + 1] - shade[i + 1, j]) * fx
            light = (upper + (lower - upper) * fy) * exposure
            for k in range(3):
                colour = min(texture[row, col, k] * light, 255.0)
                if edge > 0.0:
                    colour += (rim_colour[k] * exposure - colour) * edge
                picture[y, x, k] = np.uint8(picture[y, x, k] * (1 - cover) + max(colour, 0.0) * cover + 0.5)


@njit(cache=True, error_model="numpy")
def _shadow(field, node_x, node_y, reach, per_x, per_y):
    """How much of the object's soft shadow falls on a point, 0-1: the object seen from where the light is."""
    count = field.shape[0]
    sx = min(max(node_x + _LIGHT[0] * reach * per_x, 0.0), count - 1.000001)
    sy = min(max(node_y + _LIGHT[1] * reach * per_y, 0.0), count - 1.000001)
    i, j = int(sy), int(sx)
    fy, fx = sy - i, sx - j
    a, b, c, d = field[i, j], field[i, j + 1], field[i + 1, j], field[i + 1, j + 1]
    if a == _BAND and b == _BAND and c == _BAND and d == _BAND:
        return 0.0
    top, bottom = a + (b - a) * fx, c + (d - c) * fx
    slope_x = ((b - a) * (1 - fy) + (d - c) * fy) * per_x
    slope_y = (bottom - top) * per_y
    inside = -(top + (bottom - top) * fy) / (np.sqrt(slope_x * slope_x + slope_y * slope_y) + 1e-9)
    lit = min(max(0.5 + inside / (2 * reach + 1e-9), 0.0), 1.0)
    return lit * lit * (3 - 2 * lit)
