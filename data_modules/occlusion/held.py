"""Things held before the face: a `hand`, a `cup`, a `microphone`.

Hand and cup come in from outside at their natural size; the microphone comes nearer to the camera.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit

from data_modules.occlusion.chart import Chart, plane, unpacked
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
)
from data_modules.occlusion.textures import pick_tile
from data_modules.streams import Draws

_FAR_OFF = 0.2  # units: how an outline runs further off than this is never seen
_WEB, _WRIST = -0.95, -1.75  # where the palm and the forearm begin, behind the longest finger's tip


class _Hand(NamedTuple):
    fingers: np.ndarray  # (5, 3) middle, half width, length over the longest; the thumb is the last
    palm: float  # half width
    wrist: float  # half width


@lru_cache(maxsize=256)
def _hand(pool: str, index: int) -> _Hand:
    rng = shape_generator(pool, "hand", index)
    width = rng.uniform(0.27, 0.32)
    # Closed fingers overlap and open ones stand well apart: a gap narrower than the nodes would come out dotted.
    spread = rng.uniform(0.07, 0.11) if rng.random() < 0.4 else -0.15 * width
    lengths = np.array([-0.10, 0.0, -0.07, -0.30]) + rng.normal(0, 0.025, 4)
    widths = np.array([1.0, 1.03, 0.98, 0.86]) * width
    middles = np.cumsum(widths + spread) - (widths + spread) / 2
    half = float((widths + spread).sum() / 2)
    fingers = np.stack([middles - half, widths / 2, lengths], 1)
    thumb = [-half - 0.12, 0.165, rng.uniform(-1.1, -0.85)]
    return _Hand(np.vstack([fingers, thumb]), half - max(spread, 0.0) / 2, half * 0.95)


def draw_hand(draws: Draws, scene: Scene) -> Drawing:
    """A hand that comes in, fingers first, from below or a side and ends with its tips past the target."""
    shape = _hand(scene.pool, pick_shape(draws, scene.pool))
    mirrored = -1.0 if draws.uniform() < 0.5 else 1.0
    angle = draws.uniform(-1.3, 1.3)  # 0: straight up
    chart, points = scene.packed_chart, scene.five_points
    goal_u, goal_v = plane.py_func(Chart(*chart.tolist()), *points[draws.below(5)].tolist())
    goal_u += draws.uniform(-0.2, 0.2)
    tile = pick_tile(draws, scene.pool, "skin")
    field, across, along = _hand_field(chart, *scene.size, shape, angle, mirrored, goal_u, goal_v)
    place, rim = placing(draws, 1.0, angle), tile.rim(0.4)

    def surface(level: float) -> Surface:
        outline, shade = _hand_at(level, across, along, shape)
        return Surface(tile.pixels, place, shade, rim, 0.01, 0.5, shadow=0.5, outline=outline)

    return Drawing(field, draws.uniform(0.5, 0.8), surface)


@njit(cache=True, error_model="numpy")
def _hand_field(packed, height, width, shape, angle, mirrored, goal_u, goal_v):
    """The growth field, and places across and along the hand: it comes in along its own axis."""
    chart = unpacked(packed)
    field = np.empty((NODES, NODES), np.float32)
    sideways, lengthways = np.empty_like(field), np.empty_like(field)
    cos, sin = math.cos(angle), math.sin(angle)
    wide, high = width / NODES, height / NODES
    for i in range(NODES):
        for j in range(NODES):
            u, v = plane(chart, (j + 0.5) * wide, (i + 0.5) * high)
            u, v = u - goal_u, v - goal_v
            along = u * sin - v * cos  # grows towards the finger tips
            across = mirrored * (u * cos + v * sin) + 0.1 * along * along  # no hand is quite straight
            value = FAR
            for k in range(shape.fingers.shape[0]):
                offset, radius = across - shape.fingers[k, 0], shape.fingers[k, 1]
                if abs(offset) < radius:
                    tip = shape.fingers[k, 2] - radius + math.sqrt(radius * radius - offset * offset)
                    value = min(value, along - tip)
            if abs(across) < shape.palm:
                value = min(value, along - _WEB)
            if abs(across + 0.15) < shape.wrist + 0.15:
                value = min(value, along - _WRIST)
            field[i, j], sideways[i, j], lengthways[i, j] = value, across, along
    return field, sideways, lengthways


@njit(cache=True, error_model="numpy")
def _hand_at(level, across, along, shape):
    """Outline and shade of the hand that has come in as far as `level`; True distances, negative inside."""
    outline, shade = np.empty_like(across), np.empty_like(across)
    per_palm, per_radius = 1 / shape.palm, 1 / shape.fingers[:, 1]
    for i in range(NODES):
        for j in range(NODES):
            x, y = across[i, j], along[i, j] - level
            outline[i, j] = _FAR_OFF
            if y > _FAR_OFF or x > shape.palm + _FAR_OFF or x < shape.fingers[4, 0] - 2 * _FAR_OFF:
                shade[i, j] = 0.7
                continue
            palm, wrist = (
                max(abs(x) - shape.palm, y - _WEB),
                max(abs(x + 0.15) - shape.wrist - 0.15, y - _WRIST),
            )
            value, light = min(palm, wrist), 0.7
            back, shine = clip((_WEB + 0.12 - y) * (1 / 0.3), 0.0, 1.0), 0.0
            for k in range(shape.fingers.shape[0]):
                offset, radius, tip = x - shape.fingers[k, 0], shape.fingers[k, 1], shape.fingers[k, 2]
                past = y - tip + radius
                if abs(offset) > radius + _FAR_OFF or past > radius + _FAR_OFF:
                    continue
                edge = abs(offset) - radius
                if past > 0:
                    edge = math.sqrt(offset * offset + past * past) - radius
                value = min(value, edge)
                if edge < 0 and back < 1:
                    shine = max(shine, _finger_light(offset * per_radius[k], tip - y, k == 4))
            light = shine if shine > 0 else light
            knuckles, palm_light = 0.0, light
            if abs(x) < shape.palm and y < _WEB + 0.22:
                ridge, tendon = bell((y - _WEB - 0.02) * 10), clip((_WEB - y) * (1 / 0.3), 0.0, 1.0)
                for k in range(4):
                    away = (x - shape.fingers[k, 0]) * 1.25 * per_radius[k]
                    knuckles += 0.12 * bell(away) * ridge + 0.05 * bell(away * 2.5) * tendon
                palm_light = 0.88 - 0.2 * (x * per_palm) ** 4
            shade[i, j] = light * (1 - back) + palm_light * back + knuckles
            outline[i, j] = min(value, _FAR_OFF)
    return outline, shade


@njit(cache=True, error_model="numpy")
def _finger_light(side, below, thumb):
    """A finger's shade at `side` (-1 to 1 across it), `below` its tip: a cylinder with joints and a nail."""
    light = 0.58 + 0.38 * math.sqrt(max(1 - side * side, 0.0)) - 0.08 * side
    for joint in (0.36, 0.68):
        if abs(below - joint) < 0.14 and (not thumb or joint < 0.5):
            light += 0.05 * bell((below - joint) * (1 / 0.07)) - 0.1 * bell((below - joint) * 50)
    if below < 0.25:
        nail = (side * (1 / 0.6)) ** 4 + ((below - 0.115) * (1 / 0.085)) ** 4
        if nail < 1.0:
            light += 0.13 + 0.1 * (side < -0.1) * (side > -0.35)
        elif nail < 2.9:
            light -= 0.1
    return light


class _Cup(NamedTuple):
    radius: float
    curve: float
    lid: float  # height of the lid; 0 = none


@lru_cache(maxsize=256)
def _cup(pool: str, index: int) -> _Cup:
    rng = shape_generator(pool, "cup", index)
    return _Cup(rng.uniform(0.62, 0.85), rng.uniform(0.08, 0.18), float(rng.choice([0.0, 0.16, 0.24])))


def draw_cup(draws: Draws, scene: Scene) -> Drawing:
    """A mug or paper cup, some with a lid, that is raised from below until its rim passes the nose."""
    shape = _cup(scene.pool, pick_shape(draws, scene.pool))
    angle, aside = draws.uniform(-0.35, 0.35), draws.uniform(-0.2, 0.2)
    tile = pick_tile(draws, scene.pool, "ceramic")
    field, rim, across = _cup_field(scene.packed_chart, *scene.size, shape, angle, aside)
    place, colour = placing(draws, 1.2, angle), tile.rim(0.35)

    def surface(level: float) -> Surface:
        outline, shade = _cup_at(level, rim, across, shape)
        return Surface(tile.pixels, place, shade, colour, 0.008, 0.4, 0.006, 0.5, 0.04, outline=outline)

    return Drawing(field, 0.75, surface)


@njit(cache=True, error_model="numpy")
def _cup_field(packed, height, width, shape, angle, aside):
    """The growth field, heights over the rim at level 0, and places across in radii."""
    chart = unpacked(packed)
    field = np.empty((NODES, NODES), np.float32)
    heights, sideways = np.empty_like(field), np.empty_like(field)
    cos, sin = math.cos(angle), math.sin(angle)
    wide, high = width / NODES, height / NODES
    for i in range(NODES):
        for j in range(NODES):
            u, v = plane(chart, (j + 0.5) * wide, (i + 0.5) * high)
            u, v = u - chart.mouth_x - aside, v - chart.mouth_v
            x = (u * cos + v * sin) / shape.radius
            roundness = math.sqrt(max(1 - x * x, 0.0))
            heights[i, j] = (u * sin - v * cos) - shape.curve * (roundness - 1)  # a rim seen from below
            sideways[i, j] = x
            field[i, j] = heights[i, j] if abs(x) <= 1 else FAR
    return field, heights, sideways


@njit(cache=True, error_model="numpy")
def _cup_at(level, heights, across, shape):
    """Outline and shade of the cup whose rim has come up to `level`."""
    outline, shade = np.empty_like(across), np.empty_like(across)
    for i in range(NODES):
        for j in range(NODES):
            x, below = across[i, j], level - heights[i, j]
            outline[i, j] = max(-below, shape.radius * (abs(x) - 1))
            body = 0.5 + 0.52 * math.sqrt(max(1 - x * x, 0.0)) + 0.3 * bell((x + 0.45) / 0.13)
            body += 0.25 * bell((below - 0.05) / 0.04)  # the rim catches the light
            if shape.lid > 0:
                body *= 1.0 + 0.12 * (below < shape.lid) - 0.35 * bell((below - shape.lid) / 0.05)
            shade[i, j] = body
    return outline, shade


class _Microphone(NamedTuple):
    ball: float
    grip: float
    squareness: float


@lru_cache(maxsize=256)
def _microphone(pool: str, index: int) -> _Microphone:
    rng = shape_generator(pool, "microphone", index)
    return _Microphone(*(rng.uniform(*span) for span in ((0.4, 0.5), (0.2, 0.26), (0.8, 2.0))))


def draw_microphone(draws: Draws, scene: Scene) -> Drawing:
    """A microphone with ball and handle before the mouth; it comes nearer and so grows, then ends."""
    shape = _microphone(scene.pool, pick_shape(draws, scene.pool))
    angle = draws.uniform(-0.7, 0.7)
    tile = pick_tile(draws, scene.pool, "mesh")
    field, head, across, below = _microphone_field(scene.packed_chart, *scene.size, shape, angle)
    place = placing(draws, 1.0)

    def surface(level: float) -> Surface:
        shade = _microphone_shade(level, head, across, below, shape)
        return Surface(tile.pixels, place, shade, (12.0, 12.0, 14.0), 0.006, 0.5)

    return Drawing(field, 2.0, surface)


@njit(cache=True, error_model="numpy")
def _microphone_field(packed, height, width, shape, angle):
    chart = unpacked(packed)
    field = np.empty((NODES, NODES), np.float32)
    head, sideways, down = np.empty_like(field), np.empty_like(field), np.empty_like(field)
    cos, sin = math.cos(angle), math.sin(angle)
    wide, high = width / NODES, height / NODES
    for i in range(NODES):
        for j in range(NODES):
            u, v = plane(chart, (j + 0.5) * wide, (i + 0.5) * high)
            u, v = u - chart.mouth_x, v - chart.mouth_v - 0.18
            across, below = u * cos - v * sin, u * sin + v * cos
            ball = rounded(across / shape.ball, below / (shape.ball * 1.1), shape.squareness)
            field[i, j] = min(ball, abs(across) / shape.grip) if below > 0 else ball
            head[i, j], sideways[i, j], down[i, j] = ball, across, below
    return field, head, sideways, down


@njit(cache=True, error_model="numpy")
def _microphone_shade(level, head, across, below, shape):
    shade = np.empty_like(head)
    for i in range(head.shape[0]):
        for j in range(head.shape[1]):
            x, y = across[i, j] / (shape.ball * level), below[i, j] / (shape.ball * level)
            if abs(head[i, j] - level) < 0.09 * level and y > 0:
                shade[i, j] = 0.9  # the ring that holds the basket
            elif head[i, j] <= level:
                shade[i, j] = 0.45 + 0.75 * math.sqrt(clip(1 - x * x - y * y, 0.0, 1.0)) - 0.15 * (x + y)
            else:
                shade[i, j] = 0.22 + 0.35 * bell((across[i, j] / (shape.grip * level) + 0.35) / 0.25)
    return shade
