"""One person's head and shoulders as triangles: what stays from frame to frame, and how a frame moves it."""

import functools
import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from data_modules.synthetic_faces import traits
from data_modules.synthetic_faces.assets import LASHES, LEFT_EYE, RIGHT_EYE, load_rig
from data_modules.synthetic_faces.atlas import AXIS_Z, unroll
from data_modules.synthetic_faces.hair import Hair
from data_modules.synthetic_faces.identity import Identity
from data_modules.synthetic_faces.kernels import vertex_normals
from data_modules.synthetic_faces.mane import Mane, grow_hair, strand_coordinates

HAIR = 7  # material number of shells, after those of `assets`
_NECK_HEIGHT, _NECK_DEPTH = np.float32(-1.1), np.float32(-0.9)  # where the head turns
_NECK_FIXED, _NECK_FREE = np.float32(-1.75), np.float32(-0.95)  # height: shoulders stay, the head turns
_LASHES_FROM = 7.285  # canonical height: below are lower lashes, which are not drawn


@dataclass(frozen=True)
class Bust:
    """V surface vertices, then W vertices of hair shells; triangles of the surface, then those of the hair."""

    origin: np.ndarray  # (V + W,) int32, the surface vertex that a vertex is, or grows from
    lift: np.ndarray  # (W,) float32, decimetres along its normal
    offset: np.ndarray  # (W, 3) float32, decimetres, added to that
    normal_triangles: np.ndarray  # (N, 3) int32, that the surface's normals come from
    surface: np.ndarray  # (T, 3) int32
    solid: np.ndarray  # (T,) bool, False where both faces are drawn
    shells: np.ndarray  # (H, 3) int32
    solid_shells: np.ndarray  # (H,) bool
    triangles: np.ndarray  # (T + H, 3) both
    material: np.ndarray  # (T + H,) uint8
    casters: np.ndarray  # (C,) int32, vertices whose triangles cast shadows
    casting: np.ndarray  # (S, 3) int32, those triangles, as numbers of `casters`
    traits: np.ndarray  # (V + W, TRAITS) float32, columns of `traits`
    eyes: np.ndarray  # (2, 3) float32, canonical centres of the eyeballs
    eyeballs: np.ndarray  # vertices of both


@functools.lru_cache(maxsize=2)
def build_bust(identity: Identity) -> Bust:
    """Grow the person's hair on the rig; the shape of the face itself comes with each frame."""
    rig = load_rig()
    count = len(rig.vertices)
    drawn = _drawn(identity.lashes)
    surface, material = rig.triangles[drawn], rig.material[drawn]
    mane = grow_hair(identity.hair)
    origin = np.concatenate([np.arange(count), mane.root]).astype(np.int32)
    middle_shell = np.abs(mane.height[mane.triangles[:, 0]] - 0.5) < 0.06  # stands for the hair in shadows
    casting = np.concatenate([_coarse_triangles(), mane.triangles[middle_shell] + count])
    casters, renumbered = np.unique(casting, return_inverse=True)
    values = _vertex_traits(identity.hair, mane, origin)
    shells = mane.triangles + count
    seen = values[shells, traits.NEEDED].min(1) < 1  # a strand reaches this far
    shells = shells[seen].astype(np.int32)
    return Bust(
        origin=origin,
        lift=mane.lift,
        offset=mane.offset,
        normal_triangles=rig.triangles,
        surface=surface,
        solid=material != LASHES,
        shells=shells,
        solid_shells=mane.solid[seen],
        triangles=np.concatenate([surface, shells]),
        material=np.concatenate([material, np.full(len(shells), HAIR)]).astype(np.uint8),
        casters=casters.astype(np.int32),
        casting=renumbered.reshape(-1, 3).astype(np.int32),
        traits=values,
        eyes=np.stack([rig.vertices[ball].mean(0) for ball in _eyeballs()]),
        eyeballs=np.concatenate(_eyeballs()),
    )


def _vertex_traits(cut: Hair, mane: Mane, origin: np.ndarray) -> np.ndarray:
    values = np.empty((len(origin), traits.TRAITS), np.float32)
    bare = _bare_traits()
    surface = len(bare)
    values[:surface], values[surface:] = bare, bare[mane.root]
    values[:surface, traits.COVER], values[surface:, traits.COVER] = cut.cover, mane.cover
    values[surface:, traits.HEIGHT] = mane.height
    values[surface:, traits.STRAND_U : traits.STRAND_V + 1] = mane.strand
    values[:, traits.NEEDED] = (0.62 * values[:, traits.HEIGHT] - 1.1 * values[:, traits.COVER] + 0.75) / 0.65
    return values


@functools.cache
def _bare_traits() -> np.ndarray:
    """(V, TRAITS) of a head without hair."""
    rig = load_rig()
    values = np.zeros((len(rig.vertices), traits.TRAITS), np.float32)
    values[:, traits.CANONICAL_X : traits.CANONICAL_Z + 1] = rig.vertices
    values[:, traits.TEXEL_U : traits.TEXEL_V + 1] = unroll(rig.vertices)
    values[:, traits.OPENNESS] = np.minimum(1, 1.2 * rig.openness)
    values[:, traits.FRONTNESS] = _frontness()
    values[:, traits.STRAND_U : traits.STRAND_V + 1] = strand_coordinates()
    return values


def _frontness() -> np.ndarray:
    """(V,) 1 where the skin atlas is sharp, 0 behind the ears."""
    rig = load_rig()
    normals = vertex_normals(rig.vertices, rig.triangles)
    radial = rig.vertices - np.array([0, 0, AXIS_Z], np.float32)
    outward = normals[:, 0] * radial[:, 0] + normals[:, 2] * radial[:, 2]
    outward /= np.hypot(radial[:, 0], radial[:, 2])
    return (np.clip(outward / 0.4, 0, 1) * np.clip((radial[:, 2] - 0.1) / 0.3, 0, 1)).astype(np.float32)


@functools.cache
def _drawn(lashes: bool) -> np.ndarray:
    """(T,) bool: the surface without its lower lashes, and without the upper ones on faces that show none."""
    rig = load_rig()
    upper = rig.vertices[rig.triangles][..., 1].mean(1) > _LASHES_FROM
    return (rig.material != LASHES) | (upper & lashes)


@functools.cache
def _coarse_triangles() -> np.ndarray:
    """The surface as it was before subdivision, without lashes: fine enough for shadows.

    Subdivision keeps old vertices first, and starts each of the four parts of a quad at one old corner.
    """
    rig = load_rig()
    half = len(rig.triangles) // 2
    quads = rig.triangles[:half, 0].reshape(-1, 4)[rig.material[:half:4] != LASHES]
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


@functools.cache
def _eyeballs() -> list[np.ndarray]:
    rig = load_rig()
    return [np.unique(rig.triangles[rig.material == side]) for side in (LEFT_EYE, RIGHT_EYE)]


def turn_head(bust: Bust, surface: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grow the hair on the surface (V, 3) and turn the head on its neck.

    Returns points and unit normals (V + W, 3) in camera axes; a shell has the normals of its roots.
    """
    normals = vertex_normals(surface, bust.normal_triangles)
    return _turn(surface, normals, bust.origin, bust.lift, bust.offset, rotation)


@njit(cache=True, fastmath=True, error_model="numpy")
def _turn(surface, normals, origin, lift, offset, rotation):
    points, turned = np.empty((2, len(origin), 3), np.float32)
    zero, one, two, three = np.float32(0), np.float32(1), np.float32(2), np.float32(3)
    r = rotation
    for v in range(len(origin)):
        root, shell = np.uint32(origin[v]), v - len(surface)
        x, y, z = surface[root, 0], surface[root, 1], surface[root, 2]
        nx, ny, nz = normals[root, 0], normals[root, 1], normals[root, 2]
        if shell >= 0:
            x += nx * lift[shell] + offset[shell, 0]
            y += ny * lift[shell] + offset[shell, 1]
            z += nz * lift[shell] + offset[shell, 2]
        free = min(one, max(zero, (y - _NECK_FIXED) / (_NECK_FREE - _NECK_FIXED)))
        free *= free * (three - two * free)
        dy, dz = y - _NECK_HEIGHT, z - _NECK_DEPTH
        points[v, 0] = x + free * (r[0, 0] * x + r[0, 1] * dy + r[0, 2] * dz - x)
        points[v, 1] = y + free * (r[1, 0] * x + r[1, 1] * dy + r[1, 2] * dz - dy)
        points[v, 2] = z + free * (r[2, 0] * x + r[2, 1] * dy + r[2, 2] * dz - dz)
        mx = nx + free * (r[0, 0] * nx + r[0, 1] * ny + r[0, 2] * nz - nx)
        my = ny + free * (r[1, 0] * nx + r[1, 1] * ny + r[1, 2] * nz - ny)
        mz = nz + free * (r[2, 0] * nx + r[2, 1] * ny + r[2, 2] * nz - nz)
        scale = one / math.sqrt(mx * mx + my * my + mz * mz + np.float32(1e-12))
        turned[v, 0], turned[v, 1], turned[v, 2] = mx * scale, my * scale, mz * scale
    return points, turned
