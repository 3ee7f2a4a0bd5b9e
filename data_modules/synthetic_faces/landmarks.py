"""The 68 facial landmarks (iBUG 300-W order: jaw, brows, nose, eyes, mouth) as vertices of the surface."""

import functools

import numpy as np

from data_modules.landmarks import LEFT_CORNER, RIGHT_CORNER
from data_modules.synthetic_faces.assets import SKIN, load_rig
from data_modules.synthetic_faces.kernels import vertex_normals
from data_modules.synthetic_faces.lips import lip_field

# The subject's left half (+x), front view, canonical decimetres; the right half is its mirror image.
_JAW = [
    (0.0, 6.19),
    (0.13, 6.2),
    (0.27, 6.25),
    (0.40, 6.35),
    (0.48, 6.46),
    (0.57, 6.62),
    (0.64, 6.8),
    (0.68, 7.0),
    (0.7, 7.2),
]
_BROW = [(0.11, 7.43), (0.22, 7.46), (0.33, 7.48), (0.44, 7.46), (0.53, 7.41)]  # from the nose outwards
_BRIDGE = [(0.0, 7.26), (0.0, 7.15), (0.0, 7.04), (0.0, 6.93)]
_NOSTRILS = [(0.0, 6.835), (0.06, 6.845), (0.115, 6.865)]
_EYE = [  # along the lid's margin, inner corner first
    (0.203, 7.273),
    (0.265, 7.32),
    (0.375, 7.326),
    (0.434, 7.289),
    (0.375, 7.249),
    (0.265, 7.247),
]
_OUTER_LIPS = [
    (0.0, 6.7),
    (0.07, 6.715),
    (0.17, 6.675),
    (0.25, 6.608),
    (0.17, 6.53),
    (0.08, 6.495),
    (0.0, 6.488),
]


def _mirror(point: tuple[float, float]) -> tuple[float, float]:
    return -point[0], point[1]


def _places() -> list[tuple[float, float]]:
    """Front-view places of landmarks 0-59 and the outer two of the inner lips."""
    jaw = [_mirror(p) for p in reversed(_JAW[1:])] + _JAW
    brows = [_mirror(p) for p in reversed(_BROW)] + _BROW
    nose = _BRIDGE + [_mirror(p) for p in reversed(_NOSTRILS[1:])] + _NOSTRILS
    right_eye = [_mirror(_EYE[k]) for k in (3, 2, 1, 0, 5, 4)]
    lips = (
        [_mirror(p) for p in reversed(_OUTER_LIPS[1:4])]
        + _OUTER_LIPS
        + [_mirror(p) for p in reversed(_OUTER_LIPS[4:6])]
    )
    return [*jaw, *brows, *nose, *right_eye, *_EYE, *lips]


@functools.cache
def landmark_vertices() -> np.ndarray:
    """(68,) the surface vertex of each landmark."""
    rig, lips = load_rig(), lip_field()
    normals = vertex_normals(rig.vertices, rig.triangles)
    skin = np.zeros(len(rig.vertices), bool)
    skin[rig.triangles[rig.material == SKIN]] = True
    chosen = [_nearest_in_front(x, y, np.flatnonzero(skin & (normals[:, 2] > -0.1))) for x, y in _places()]
    pairs = len(lips.upper)
    inner = [pairs // 2 - 5, pairs // 2, pairs // 2 + 5]
    upper = [int(lips.upper[k]) for k in inner]
    lower = [int(lips.lower[k]) for k in reversed(inner)]
    corners = [chosen[LEFT_CORNER], chosen[RIGHT_CORNER]]
    return np.array([*chosen, corners[0], *upper, corners[1], *lower])


def _nearest_in_front(x: float, y: float, candidates: np.ndarray) -> int:
    """The vertex that the front view shows at a place: near it, and in front of others as near."""
    points = load_rig().vertices[candidates]
    distance = np.hypot(points[:, 0] - x, points[:, 1] - y)
    near = distance < distance.min() + 0.006
    return int(candidates[near][points[near, 2].argmax()])
