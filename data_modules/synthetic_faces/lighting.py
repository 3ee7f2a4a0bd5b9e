"""The light of a frame: its shadow map, and how it falls on a surface."""

from typing import NamedTuple

import numpy as np
from numba import njit

from data_modules.synthetic_faces.kernels import shadow_depth
from data_modules.synthetic_faces.scene import Light

_MAP_SIZE, _MAP_SPAN = 160, 3.6  # pixels and decimetres of the shadow map's side
_MAP_CENTRE = np.array([0.0, -0.25, -0.2])  # camera axes: the face and what stands between it and the light
_BIAS, _LIFT = 0.05, 0.05  # decimetres towards the light, and along the normal, against self-shadow


class Lamps(NamedTuple):
    """Key light with its shadow map, ambient from above and below, fill; float32, camera axes.

    A pixel's place in the shadow map is `depth * (place @ (x, y, 1)) + origin + lift @ normal`: map pixels,
    then depth along the light.
    """

    direction: np.ndarray  # (3,) towards the key light
    half_way: np.ndarray  # (3,) between it and the camera
    key: np.ndarray  # (3,) linear RGB, as the next three
    sky: np.ndarray
    floor: np.ndarray
    fill: np.ndarray
    fill_direction: np.ndarray  # (3,)
    shadow: np.ndarray  # (M, M) depth of the nearest caster
    place: np.ndarray  # (3, 3)
    origin: np.ndarray  # (3,)
    lift: np.ndarray  # (3, 3)


def light_up(
    points: np.ndarray, triangles: np.ndarray, light: Light, back: tuple[np.ndarray, np.ndarray]
) -> Lamps:
    """The light with the shadows of triangles over `points` (C, 3); `back` from pixels, see
    `camera.unproject`."""
    side = np.cross(light.direction, [0.05, 1.0, 0.02])
    side /= np.linalg.norm(side)
    axes = np.stack([side, np.cross(light.direction, side), -light.direction])  # (3, 3) rows x, y, depth
    axes[:2] *= _MAP_SIZE / _MAP_SPAN
    origin = -axes @ _MAP_CENTRE + [_MAP_SIZE / 2, _MAP_SIZE / 2, 0]
    seen = points @ axes.T.astype(np.float32) + origin.astype(np.float32)
    half_way = light.direction + [0, 0, 1]
    return Lamps(
        direction=_f32(light.direction),
        half_way=_f32(half_way / np.linalg.norm(half_way)),
        key=_f32(light.colour),
        sky=_f32(light.sky),
        floor=_f32(light.floor),
        fill=_f32(light.fill),
        fill_direction=_f32(light.fill_direction),
        shadow=shadow_depth(seen, triangles, _MAP_SIZE),
        place=_f32(axes @ back[0]),
        origin=_f32(axes @ back[1] + origin - [0, 0, _BIAS]),
        lift=_f32(axes * _LIFT),
    )


def _f32(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, np.float32)


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def lit_share(x, y, depth, nx, ny, nz, shadow, place, origin, lift):
    """Share of the key light that reaches a pixel's surface: tests in a 3×3 box of the shadow map, smooth."""
    one = np.float32(1)
    u = depth * (place[0, 0] * x + place[0, 1] * y + place[0, 2]) + origin[0]
    v = depth * (place[1, 0] * x + place[1, 1] * y + place[1, 2]) + origin[1]
    z = depth * (place[2, 0] * x + place[2, 1] * y + place[2, 2]) + origin[2]
    u += lift[0, 0] * nx + lift[0, 1] * ny + lift[0, 2] * nz
    v += lift[1, 0] * nx + lift[1, 1] * ny + lift[1, 2] * nz
    z += lift[2, 0] * nx + lift[2, 1] * ny + lift[2, 2] * nz
    last = np.float32(shadow.shape[0] - 3)
    u, v = min(max(u - np.float32(0.5), one), last), min(max(v - np.float32(0.5), one), last)
    i, j = np.uint32(u), np.uint32(v)  # the box covers pixels i − 1 … i + 2, its outer ones in part
    corners = (z < shadow[j - 1, i - 1]) + (z < shadow[j - 1, i + 2])
    corners += (z < shadow[j + 2, i - 1]) + (z < shadow[j + 2, i + 2]) + (z < shadow[j, i])
    if corners == 5:
        return one
    if corners == 0:
        return np.float32(0)
    fu, fv = u - np.float32(i), v - np.float32(j)
    total = np.float32(0)
    for row in range(4):
        weight = one - fv if row == 0 else (fv if row == 3 else one)
        lit = np.float32(0)
        if z < shadow[j + row - 1, i - 1]:
            lit += one - fu
        if z < shadow[j + row - 1, i]:
            lit += one
        if z < shadow[j + row - 1, i + 1]:
            lit += one
        if z < shadow[j + row - 1, i + 2]:
            lit += fu
        total += weight * lit
    return total / np.float32(9)


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def illuminate(surface, lit, direction, half_way, key, sky, floor, fill, fill_direction):
    """Linear RGB of a surface: wrapped diffuse key, ambient, fill, and two highlights of the key.

    `surface`: label, red, green, blue, gloss, doublings of the highlight's exponent, share of open sky,
    normal x, y, z.
    """
    zero, half, one = np.float32(0), np.float32(0.5), np.float32(1)
    _, red, green, blue, gloss, doublings, open_share, nx, ny, nz = surface
    facing = nx * direction[0] + ny * direction[1] + nz * direction[2]
    filled = max(zero, nx * fill_direction[0] + ny * fill_direction[1] + nz * fill_direction[2])
    up = half + half * ny
    shine = zero
    if gloss > zero and lit > zero:
        lobe = max(zero, nx * half_way[0] + ny * half_way[1] + nz * half_way[2])
        for _ in range(doublings):
            lobe *= lobe
        rim = one - max(zero, nz)
        shine = np.float32(0.08) * lobe + np.float32(0.05) * lobe * lobe * lobe * lobe
        shine *= gloss * lit * open_share * (np.float32(0.65) + np.float32(0.75) * rim * rim * rim)
    # Light spreads under skin, red furthest: its terminator is softer, and shadows keep a little of it.
    direct, bright = half + half * open_share, np.float32(0.92) * lit
    warm = (
        max(zero, (facing + np.float32(0.35)) * np.float32(1 / 1.35)) * (np.float32(0.08) + bright) * direct
    )
    cool = (
        max(zero, (facing + np.float32(0.15)) * np.float32(1 / 1.15)) * (np.float32(0.02) + bright) * direct
    )
    down = one - up
    red *= key[0] * warm + (sky[0] * up + floor[0] * down + fill[0] * filled) * open_share
    green *= key[1] * cool + (sky[1] * up + floor[1] * down + fill[1] * filled) * open_share
    blue *= key[2] * cool + (sky[2] * up + floor[2] * down + fill[2] * filled) * open_share
    return red + shine * key[0], green + shine * key[1], blue + shine * key[2]
