"""Shapes without meaning: a `texture` blob, an `other_face` blob, and the user's own `objects`."""

import math
from functools import lru_cache

import numpy as np
from numba import njit

from data_modules.errors import UserError
from data_modules.occlusion.chart import Chart
from data_modules.occlusion.fill import resized
from data_modules.occlusion.objects import DIRECTIONS, to_power_of_two
from data_modules.occlusion.paint import NODES, Drawing, Surface
from data_modules.occlusion.scene import Scene
from data_modules.occlusion.shapes import pick_shape, placing, shape_generator
from data_modules.occlusion.textures import pick_tile
from data_modules.streams import Draws

_BLOB_MATERIALS = ("skin", "cloth", "noise")
_CENTRES = (np.arange(NODES, dtype=np.float32) + 0.5) / NODES - 0.5


def draw_texture(draws: Draws, scene: Scene) -> Drawing:
    """A blob of skin, cloth or noise anywhere on the face; no end."""
    field = _blob(draws, scene, "texture")
    tile = pick_tile(draws, scene.pool, _BLOB_MATERIALS[draws.below(len(_BLOB_MATERIALS))])
    direction = draws.uniform(0, 2 * math.pi)
    light = 1 + np.add.outer(
        np.float32(0.3 * math.sin(direction)) * _CENTRES, np.float32(0.3 * math.cos(direction)) * _CENTRES
    )
    surface = Surface(
        tile.pixels, placing(draws, draws.uniform(0.7, 1.4)), light, tile.rim(0.3), 0.01, 0.25, shadow=0.5
    )
    return Drawing(field, np.inf, lambda level: surface)


def draw_other_face(draws: Draws, scene: Scene) -> Drawing:
    """A blob through which another face shows, eyes where the eyes were; no shadow or rim gives it away."""
    if scene.donor is None:
        raise UserError("occlusion 'other_face' needs a donor picture: give one, or choose 'texture'")
    field = _blob(draws, scene, "other_face")
    donor = to_power_of_two(resized(scene.donor, *scene.size))
    place = np.eye(2, 3) * ((scene.size[1] / donor.shape[1],), (scene.size[0] / donor.shape[0],))
    surface = Surface(donor, place, None, softness=0.03, shadow=0.0, exposed=False)
    return Drawing(field, np.inf, lambda level: surface)


def draw_objects(draws: Draws, scene: Scene) -> Drawing:
    """One of the user's cut-outs, anywhere on the face; it comes nearer and so grows, without end.

    All that lies between a cut-out's middle and its outline counts as object; holes are closed with the
    nearest colour, so that masks stay nested.
    """
    if not scene.objects:
        raise UserError("occlusion 'objects' needs cut-outs: give a folder of PNG pictures with transparency")
    cutout = scene.objects[draws.below(len(scene.objects))]
    chart = scene.chart
    centre, turn = _somewhere(draws, chart), draws.uniform(-0.5, 0.5)
    field = _cutout_field(*scene.size, *centre, turn, chart.unit, cutout.reach)

    def surface(level: float) -> Surface:
        cos, sin = math.cos(turn) * cutout.radius / level, math.sin(turn) * cutout.radius / level
        rows = np.array([[cos, sin], [-sin, cos]]) / chart.unit  # pixels from the centre -> texels
        shift = np.array(cutout.middle) - rows @ centre
        height, width = scene.size
        size = np.array([[cutout.colours.shape[1]], [cutout.colours.shape[0]]])
        place = np.hstack([rows * (width, height), shift[:, None]]) / size
        return Surface(cutout.colours, place, None, softness=0.004)

    return Drawing(field, np.inf, surface)


@lru_cache(maxsize=256)
def _outline(pool: str, kind: str, index: int) -> tuple[float, np.ndarray]:
    """A stretch, and the amplitudes (5, 2) of an outline as a short Fourier series of the angle."""
    rng = shape_generator(pool, kind, index)
    falling = np.array([0.16, 0.14, 0.1, 0.06, 0.04])[:, None]
    return math.exp(rng.uniform(-0.3, 0.3)), rng.normal(0, 1, (5, 2)) * falling


def _blob(draws: Draws, scene: Scene, kind: str) -> np.ndarray:
    """The field of a star-shaped blob on the face, turned and stretched."""
    stretch, amplitudes = _outline(scene.pool, kind, pick_shape(draws, scene.pool))
    chart = scene.chart
    centre, turn = _somewhere(draws, chart), draws.uniform(0, 2 * math.pi)
    return _blob_field(*scene.size, *centre, turn, chart.unit, stretch, amplitudes)


def _somewhere(draws: Draws, chart: Chart) -> tuple[float, float]:
    """A place on the face, pixels."""
    across, down = chart.middle
    return chart.place(across + draws.uniform(-0.75, 0.75), down + draws.uniform(-0.9, 1.0))


@njit(cache=True, error_model="numpy")
def _blob_field(height, width, centre_x, centre_y, turn, unit, stretch, amplitudes):
    """How far a blob of mean radius 1 must be scaled to reach each node, by the recurrence of the cosines."""
    field = np.empty((NODES, NODES), np.float32)
    cos_turn, sin_turn = math.cos(turn), math.sin(turn)
    wide, high, squeeze = width / NODES, height / NODES, 1 / stretch
    for i in range(NODES):
        for j in range(NODES):
            dx, dy = ((j + 0.5) * wide - centre_x) / unit, ((i + 0.5) * high - centre_y) / unit
            x, y = (dx * cos_turn + dy * sin_turn) * stretch, (dy * cos_turn - dx * sin_turn) * squeeze
            radius = math.sqrt(x * x + y * y) + 1e-9
            per_radius = 1 / radius
            cos, sin = x * per_radius, y * per_radius
            outline, cos_k, sin_k = 1.0, 1.0, 0.0
            for k in range(amplitudes.shape[0]):
                cos_k, sin_k = cos_k * cos - sin_k * sin, sin_k * cos + cos_k * sin
                outline += amplitudes[k, 0] * cos_k + amplitudes[k, 1] * sin_k
            field[i, j] = radius / max(outline, 0.25)
    return field


@njit(cache=True, error_model="numpy")
def _cutout_field(height, width, centre_x, centre_y, turn, unit, reach):
    """How far a cut-out of mean radius 1 must be scaled to reach each node."""
    field = np.empty((NODES, NODES), np.float32)
    wide, high = width / NODES, height / NODES
    for i in range(NODES):
        for j in range(NODES):
            dx, dy = ((j + 0.5) * wide - centre_x) / unit, ((i + 0.5) * high - centre_y) / unit
            turns = (math.atan2(dy, dx) - turn) / (2 * math.pi) + 0.5
            field[i, j] = math.sqrt(dx * dx + dy * dy) / reach[math.floor(turns * DIRECTIONS) % DIRECTIONS]
    return field
