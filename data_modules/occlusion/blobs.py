"""Shapes without meaning: a `texture` blob, an `other_face` blob, and the user's own `objects`."""

import numpy as np

from data_modules.errors import UserError
from data_modules.occlusion.fill import resized
from data_modules.occlusion.paint import NODES, Drawing, Surface, nodes
from data_modules.occlusion.scene import Scene
from data_modules.occlusion.shapes import blob_outline, pick_shape, placing
from data_modules.occlusion.textures import pick_tile

_BLOB_MATERIALS = ("skin", "cloth", "noise")
_PLAIN = np.ones((NODES, NODES), np.float32)


def draw_texture(rng: np.random.Generator, scene: Scene) -> Drawing:
    """A blob of skin, cloth or noise anywhere on the face; no end."""
    field = _blob(rng, scene, "texture")
    material = _BLOB_MATERIALS[int(rng.integers(len(_BLOB_MATERIALS)))]
    texture = pick_tile(rng, scene.pool, material)
    direction = rng.uniform(0, 2 * np.pi)
    x, y = (np.arange(NODES) / NODES - 0.5)[None], (np.arange(NODES) / NODES - 0.5)[:, None]
    light = (1 + 0.3 * (x * np.cos(direction) + y * np.sin(direction))).astype(np.float32)
    surface = Surface(texture, placing(rng, rng.uniform(0.7, 1.4)), light, (20, 16, 14), 0.01, 0.25)
    return Drawing(field, np.inf, lambda level: surface)


def draw_other_face(rng: np.random.Generator, scene: Scene) -> Drawing:
    """A blob through which another face shows, eyes where the eyes were; no shadow or rim gives it away."""
    if scene.donor is None:
        raise UserError("occlusion 'other_face' needs a donor picture: give one, or choose 'texture'")
    field = _blob(rng, scene, "other_face")
    donor = resized(scene.donor, scene.height, scene.width)
    surface = Surface(donor, np.eye(2, 3), _PLAIN, softness=0.03, shadow=0.0, exposed=False)
    return Drawing(field, np.inf, lambda level: surface)


def draw_objects(rng: np.random.Generator, scene: Scene) -> Drawing:
    """One of the user's cut-outs, anywhere on the face; it comes nearer and so grows, without end.

    All that lies between a cut-out's middle and its outline counts as object; holes are closed with the
    nearest colour, so that masks stay nested.
    """
    if not scene.objects:
        raise UserError("occlusion 'objects' needs cut-outs: give a folder of PNG pictures with transparency")
    cutout = scene.objects[int(rng.integers(len(scene.objects)))]
    centre, turn = _somewhere(rng, scene), rng.uniform(-0.5, 0.5)
    x, y = _turned(scene, centre, turn)
    field = cutout.scale_to_reach(x, y)

    def surface(level: float) -> Surface:
        cos, sin = np.cos(turn) * cutout.radius / level, np.sin(turn) * cutout.radius / level
        rows = np.array([[cos, sin], [-sin, cos]]) / scene.chart.unit  # pixels from the centre -> texels
        shift = np.array(cutout.middle) - rows @ centre
        size = np.array([[cutout.colours.shape[1]], [cutout.colours.shape[0]]])
        place = np.hstack([rows * (scene.width, scene.height), shift[:, None]]) / size
        return Surface(cutout.colours, place, _PLAIN, softness=0.004)

    return Drawing(field, np.inf, surface)


def _blob(rng: np.random.Generator, scene: Scene, kind: str) -> np.ndarray:
    """The field of a star-shaped blob on the face, turned and stretched."""
    shape = pick_shape(rng, scene.pool, kind)
    x, y = _turned(scene, _somewhere(rng, scene), rng.uniform(0, 2 * np.pi))
    stretch = float(np.exp(shape.uniform(-0.3, 0.3)))
    return blob_outline(shape, x * stretch, y / stretch)


def _somewhere(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """A place on the face, (2,) pixels."""
    chart = scene.chart
    across, down = rng.uniform(-0.75, 0.75), rng.uniform(-0.9, 1.0)
    return chart.middle + chart.unit * (across * chart.across + down * chart.down)


def _turned(scene: Scene, centre: np.ndarray, turn: float) -> tuple[np.ndarray, np.ndarray]:
    """The field's nodes around `centre`, turned, in units of the face: x and y, (NODES, NODES) each."""
    x, y = nodes(scene)
    x, y = (x - centre[0]) / scene.chart.unit, (y - centre[1]) / scene.chart.unit
    return x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
