"""Things worn on the face: `sunglasses`, a medical or cloth `mask`, and a `hair` strand over the face."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit

from data_modules.occlusion.chart import locate, off_head, unpacked
from data_modules.occlusion.paint import NODES, Drawing, Surface
from data_modules.occlusion.scene import Scene
from data_modules.occlusion.shapes import (
    FAR,
    bell,
    clip,
    pick_shape,
    placing,
    rounded,
    shape_generator,
    stripe_noise,
)
from data_modules.occlusion.textures import pick_tile
from data_modules.streams import Draws


class _Glasses(NamedTuple):
    half_width: float
    half_height: float
    squareness: float
    droop: float
    frame: float  # width of the rim
    reflection: float


@lru_cache(maxsize=256)
def _glasses(pool: str, index: int) -> _Glasses:
    rng = shape_generator(pool, "sunglasses", index)
    ranges = ((0.38, 0.46), (0.26, 0.36), (-0.6, 1.6), (-0.1, 0.2), (0.008, 0.022), (0.2, 0.6))
    return _Glasses(*(rng.uniform(*span) for span in ranges))


def draw_sunglasses(draws: Draws, scene: Scene) -> Drawing:
    """Two lenses on the eyes, bridge and temples; they grow into ski goggles and end there."""
    shape = _glasses(scene.pool, pick_shape(draws, scene.pool))
    tile = pick_tile(draws, scene.pool, "plastic")
    field, shade = _glasses_field(scene.packed_chart, *scene.size, shape)
    surface = Surface(tile.pixels, placing(draws, 0.3), shade, tile.rim(0.45), shape.frame, 1.0, shadow=0.4)
    return Drawing(field, 2.0, lambda level: surface)


@njit(cache=True, error_model="numpy")
def _glasses_field(packed, height, width, shape):
    field = np.empty((NODES, NODES), np.float32)
    shade = np.empty((NODES, NODES), np.float32)
    chart = unpacked(packed)
    middle, between = (chart.left_u + chart.right_u) / 2, (chart.right_u - chart.left_u) / 2
    wide, high = width / NODES, height / NODES
    for i in range(NODES):
        for j in range(NODES):
            x, y = (j + 0.5) * wide, (i + 0.5) * high
            u, v = locate(chart, x, y)
            value = FAR
            for side in (-1, 1):
                eye_u, eye_v = (chart.left_u, chart.left_v) if side < 0 else (chart.right_u, chart.right_v)
                down = (v - eye_v - 0.05) / shape.half_height
                across = (u - eye_u - 0.02 * side) / (shape.half_width * (1 - shape.droop * down))
                value = min(value, rounded(across, down, shape.squareness))
                if side * (u - eye_u) > 0 and off_head(chart, x, y) < 0:  # temple
                    value = min(value, abs(v - eye_v + 0.12) / 0.055)
            if abs(u - middle) < between:  # bridge
                value = min(value, abs(v - (chart.left_v + chart.right_v) / 2 + 0.08) / 0.06)
            field[i, j] = value
            glare = bell((u * 0.8 + v - 0.15) / 0.09) + bell((u * 0.8 + v + 0.55) / 0.07)
            shade[i, j] = 1.25 - 0.7 * clip(v + 0.5, 0.0, 1.0) + 4 * shape.reflection * glare
    return field, shade


class _Mask(NamedTuple):
    half_width: float
    jaw: float
    arch: float
    bump: float
    pleats: float  # folds per unit; 0 = a seam down the middle
    medical: bool


@lru_cache(maxsize=256)
def _mask(pool: str, index: int) -> _Mask:
    rng = shape_generator(pool, "mask", index)
    width, jaw, arch, bump = (
        rng.uniform(*span) for span in ((1.05, 1.2), (0.25, 0.45), (0.1, 0.3), (0.06, 0.14))
    )
    pleats = float(rng.integers(3, 6)) if rng.random() < 0.7 else 0.0
    return _Mask(width, jaw, arch, bump, pleats, bool(rng.random() < 0.6))


def draw_mask(draws: Draws, scene: Scene) -> Drawing:
    """A medical or cloth mask that is pulled up from the chin over mouth and nose to below the eyes."""
    shape = _mask(scene.pool, pick_shape(draws, scene.pool))
    tile = pick_tile(draws, scene.pool, "fleece" if shape.medical else "cloth")
    chart, place = scene.packed_chart, placing(draws, 1.0)
    mouth_v = float(unpacked.py_func(chart).mouth_v)
    loop_level = mouth_v + 0.35 + shape.arch  # how far the mask is up when the loops show
    field, top_edge, sides, loops, shade = _mask_field(chart, *scene.size, shape, loop_level)

    def surface(level: float) -> Surface:
        outline = _mask_outline(level, top_edge, sides, loops, loop_level)
        return Surface(tile.pixels, place, shade, tile.rim(0.8), 0.012, 0.7, shadow=0.45, outline=outline)

    return Drawing(field, mouth_v + 0.75, surface)


@njit(cache=True, error_model="numpy")
def _mask_field(packed, height, width, shape, loop_level):
    """The growth field; the top edge's height over the chin, distance beyond the sides and from the loops; shade."""
    field = np.empty((NODES, NODES), np.float32)
    tops, sides = np.empty_like(field), np.empty_like(field)
    loops, shade = np.empty_like(field), np.empty_like(field)
    chart = unpacked(packed)
    chin = chart.mouth_v + 0.9
    wide, high = width / NODES, height / NODES
    for i in range(NODES):
        for j in range(NODES):
            px, py = (j + 0.5) * wide, (i + 0.5) * high
            u, v = locate(chart, px, py)
            u -= chart.mouth_u * clip(v, 0.0, 1.0)
            x = u / (shape.half_width * (1 - 0.22 * clip(v - 0.6, 0.0, 1.2)))
            side = max(shape.half_width * (abs(x) - 1), v - chin + shape.jaw * x * x)
            top = chin - v + shape.arch * x * x - shape.bump * bell(u / 0.25)
            loop, beyond = FAR, abs(u) - shape.half_width
            if beyond > -0.1:
                loop = min(abs(v - 0.6 + 0.5 * beyond), abs(v - 1.4 + 0.9 * beyond)) - 0.04
                loop = max(loop, off_head(chart, px, py))
            tops[i, j], sides[i, j], loops[i, j] = top, side, loop
            field[i, j] = min(top if side <= 0 else FAR, loop_level if loop <= 0 else FAR)
            light = 1.06 - 0.28 * min(u * u, 1.2) - 0.15 * clip(v - chart.mouth_v, 0.0, 1.0)
            if shape.pleats > 0:
                light += 0.14 * max(_swing((v - shape.arch * x * x) * shape.pleats), -0.3)
            else:
                light += 0.1 * bell((u + 0.1) / 0.08) - 0.3 * bell(u / 0.035)
            # The ridge over the nose, above the mouth.
            shade[i, j] = light + 0.06 * bell((u - 0.12) / 0.1) * (v < chart.mouth_v)
    return field, tops, sides, loops, shade


@njit(cache=True, error_model="numpy")
def _mask_outline(level, top_edge, sides, loops, loop_level):
    outline = np.empty_like(sides)
    for i in range(NODES):
        for j in range(NODES):
            outline[i, j] = min(
                max(top_edge[i, j] - level, sides[i, j]), max(loop_level - level, loops[i, j])
            )
    return outline


class _Hair(NamedTuple):
    bend: float
    wave: float
    slant: float
    coarse: np.ndarray  # -1..1 along -3..3 units
    fine: np.ndarray


@lru_cache(maxsize=256)
def _hair(pool: str, index: int) -> _Hair:
    rng = shape_generator(pool, "hair", index)
    bend, wave, slant = (rng.uniform(*span) for span in ((-0.5, 0.5), (0.0, 0.12), (-0.4, 0.4)))
    return _Hair(bend, wave, slant, stripe_noise(rng, 14), stripe_noise(rng, 90))


def draw_hair(draws: Draws, scene: Scene) -> Drawing:
    """Locks that fall from the crown over the face, lock by lock, as far as the chin."""
    shape = _hair(scene.pool, pick_shape(draws, scene.pool))
    side = draws.uniform(-0.7, 0.7)
    tile = pick_tile(draws, scene.pool, "hair")
    field, beside, shade = _hair_field(scene.packed_chart, *scene.size, shape, side)
    place, rim = placing(draws, 1.0), tile.rim(0.5)

    def surface(level: float) -> Surface:
        outline = np.maximum(field - np.float32(level), beside)
        return Surface(tile.pixels, place, shade, rim, 0.008, 0.35, 0.008, 0.45, 0.02, outline=outline)

    return Drawing(np.where(beside <= 0, field, np.float32(FAR)), 1.6, surface)


@njit(cache=True, error_model="numpy")
def _hair_field(packed, height, width, shape, side):
    """How far each node lies below the tips at level 0, and how far beside the head; shade."""
    field = np.empty((NODES, NODES), np.float32)
    beside, shade = np.empty_like(field), np.empty_like(field)
    chart, count = unpacked(packed), len(shape.coarse)
    wide, high = width / NODES, height / NODES
    for i in range(NODES):
        for j in range(NODES):
            x, y = (j + 0.5) * wide, (i + 0.5) * high
            u, v = locate(chart, x, y)
            fall = v + 1.2
            across = u + shape.slant * fall + shape.bend * fall * fall * 0.25 + shape.wave * _swing(fall)
            place = int(clip((across + 3) * (1 / 6), 0.0, 1 - 1e-9) * count)
            lock, strand = shape.coarse[place], shape.fine[place]
            field[i, j] = fall - (0.5 * lock + 0.16 * strand + 1.35 * bell((across - side) * 1.25))
            beside[i, j] = off_head(chart, x, y) - 0.12 - 0.05 * lock
            shine = 0.3 * bell((fall - 0.9 - 0.2 * lock) * (1 / 0.22)) * (0.6 + 0.4 * strand)
            shade[i, j] = 0.82 + 0.34 * strand + 0.2 * lock + shine
    return field, beside, shade


@njit(cache=True, error_model="numpy")
def _swing(x):
    """Between -1 and 1 and back with a period of 2, in parabolas."""
    rest = x * 0.5 - math.floor(x * 0.5)
    return 16 * rest * (0.5 - rest) if rest < 0.5 else -16 * (rest - 0.5) * (1 - rest)
