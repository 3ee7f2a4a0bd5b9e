"""Compiled materials: what a pixel shows of skin, eyes, mouth and hair before light falls on it.

Each gives (label, red, green, blue, gloss, doublings of the highlight's exponent, share of open sky, normal
x, y, z), colours linear. `at` is a place in a triangle: three vertices and their weights.
"""

import math

import numpy as np
from numba import njit

from data_modules.synthetic_faces.atlas import AXIS_Z, TEXELS
from data_modules.synthetic_faces.strands import strand_height
from data_modules.synthetic_faces.traits import (
    CANONICAL_X,
    CANONICAL_Y,
    CANONICAL_Z,
    COVER,
    FRONTNESS,
    HEIGHT,
    OPENNESS,
    STRAND_U,
    STRAND_V,
    TEXEL_U,
    TEXEL_V,
)

BACKGROUND, SKIN, BROW, EYE, LIPS, MOUTH, HAIR, CLOTHES = range(8)  # labels of the segmentation

_SATIN, _SOFT, _WET = 3, 4, 7  # highlights: the cosine to the power of 8, 16, 128
_IRIS_ANGLE = 0.46  # radians from the gaze to the rim of the iris
_BROW_PART, _LIP_PART = 1, 2  # of the skin's part map
_COLLAR = 5.85  # canonical height where clothing starts

f32 = np.float32  # numba would carry plain literals as float64


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def mix(values, at, column):
    """A column of vertex values (V, C) at a place."""
    a, b, c, w0, w1, w2 = at
    return w0 * values[a, column] + w1 * values[b, column] + w2 * values[c, column]


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def unit(x, y, z):
    scale = f32(1) / math.sqrt(x * x + y * y + z * z + f32(1e-9))
    return x * scale, y * scale, z * scale


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _smoothstep(low, high, x):
    t = min(f32(1), max(f32(0), (x - f32(low)) / f32(high - low)))
    return t * t * (f32(3) - f32(2) * t)


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def skin(
    traits, at, nx, ny, nz, albedo, part, relief, texels, oiliness, rotation, strands, hair, clothing, blur
):
    """Skin with its texture and relief, roots of hair, lips, brows; below the collar, clothes.

    Texture maps have `texels` per decimetre; an edge is `blur` decimetres wide.
    """
    one, zero = f32(1), f32(0)
    open_share = mix(traits, at, OPENNESS)
    cx, cy = mix(traits, at, CANONICAL_X), mix(traits, at, CANONICAL_Y)
    bare = min(one, max(zero, (cy - f32(_COLLAR) - f32(0.12) * abs(cx)) / blur + f32(0.5)))
    if bare == zero:
        return CLOTHES, clothing[0], clothing[1], clothing[2], zero, _SOFT, open_share, nx, ny, nz
    scale = texels / f32(TEXELS)
    u = min(max(mix(traits, at, TEXEL_U) * scale - f32(0.5), zero), f32(relief.shape[1]) - f32(1.01))
    v = min(max(mix(traits, at, TEXEL_V) * scale - f32(0.5), zero), f32(relief.shape[0]) - f32(1.01))
    i, j = np.uint32(u), np.uint32(v)
    fu, fv = u - f32(i), v - f32(j)
    w11 = fu * fv
    w10, w01 = fu - w11, fv - w11
    w00 = one - fu - w01
    red = (
        w00 * albedo[j, i, 0]
        + w10 * albedo[j, i + 1, 0]
        + w01 * albedo[j + 1, i, 0]
        + w11 * albedo[j + 1, i + 1, 0]
    )
    green = (
        w00 * albedo[j, i, 1]
        + w10 * albedo[j, i + 1, 1]
        + w01 * albedo[j + 1, i, 1]
        + w11 * albedo[j + 1, i + 1, 1]
    )
    blue = (
        w00 * albedo[j, i, 2]
        + w10 * albedo[j, i + 1, 2]
        + w01 * albedo[j + 1, i, 2]
        + w11 * albedo[j + 1, i + 1, 2]
    )
    label, gloss = SKIN, oiliness * bare
    front = mix(traits, at, FRONTNESS)
    if front > zero:
        # The slope of the relief tilts the normal; hollows keep less light.
        r00, r10, r01, r11 = relief[j, i], relief[j, i + 1], relief[j + 1, i], relief[j + 1, i + 1]
        slope = texels * front
        along = ((r10 - r00) * (one - fv) + (r11 - r01) * fv) * slope  # along the cylinder's arc
        up = ((r00 - r01) * (one - fu) + (r10 - r11) * fu) * slope
        cz = mix(traits, at, CANONICAL_Z) - f32(AXIS_Z)
        across = along / math.sqrt(cx * cx + cz * cz + f32(1e-9))
        ax, az = cz * across, -cx * across
        nx, ny, nz = unit(
            nx - ax * rotation[0, 0] - az * rotation[0, 2] - up * rotation[0, 1],
            ny - ax * rotation[1, 0] - az * rotation[1, 2] - up * rotation[1, 1],
            nz - ax * rotation[2, 0] - az * rotation[2, 2] - up * rotation[2, 1],
        )
        height = w00 * r00 + w10 * r10 + w01 * r01 + w11 * r11
        open_share *= max(f32(0.3), min(f32(1.15), one + f32(40) * front * height))
        if part[j, i] == _LIP_PART:
            label, gloss = LIPS, f32(1.6) * oiliness
        elif part[j, i] == _BROW_PART:
            label, gloss = BROW, f32(0.3) * oiliness
    cover = mix(traits, at, COVER)
    if cover > zero:
        strand = strand_height(strands, mix(traits, at, STRAND_U), mix(traits, at, STRAND_V))
        root = _smoothstep(0.25, 0.75, f32(0.6) * strand + f32(1.1) * cover - f32(0.45))
        shade = f32(0.7) * root
        red = red * (one - root) + shade * hair[0]
        green = green * (one - root) + shade * hair[1]
        blue = blue * (one - root) + shade * hair[2]
        gloss *= one - root
        if root > f32(0.5):
            label = HAIR
    if bare < one:
        red = red * bare + clothing[0] * (one - bare)
        green = green * bare + clothing[1] * (one - bare)
        blue = blue * bare + clothing[2] * (one - bare)
        if bare < f32(0.5):
            label = CLOTHES
    return label, red, green, blue, gloss, _SOFT, open_share, nx, ny, nz


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def eye(traits, at, nx, ny, nz, eyes, side, gaze, iris, strands):
    """An eyeball: pupil, iris with its fibres and rim, white that reddens outwards, shade under the upper
    lid."""
    one = f32(1)
    dy = mix(traits, at, CANONICAL_Y) - eyes[side, 1]
    open_share = f32(0.4) + f32(0.55) * mix(traits, at, OPENNESS)
    open_share *= one - f32(0.45) * _smoothstep(-0.01, 0.05, dy)
    dx, dy, dz = unit(
        mix(traits, at, CANONICAL_X) - eyes[side, 0], dy, mix(traits, at, CANONICAL_Z) - eyes[side, 2]
    )
    aligned = min(one, max(-one, dx * gaze[0] + dy * gaze[1] + dz * gaze[2]))
    angle = math.acos(aligned) * f32(1 / _IRIS_ANGLE)
    if angle < f32(0.36):
        red, green, blue = f32(0.004), f32(0.004), f32(0.004)
    elif angle < one:
        fibre = math.atan2(dy - gaze[1], dx - gaze[0]) * f32(40)
        tone = f32(0.7) + f32(0.6 / 0.64) * (angle - f32(0.36))
        tone *= f32(0.75) + f32(0.5) * strand_height(strands, fibre, angle * f32(6))
        tone *= one - f32(0.75) * _smoothstep(0.82, 1.0, angle)
        red, green, blue = iris[0] * tone, iris[1] * tone, iris[2] * tone
    else:
        edge = min(one, (angle - one) * f32(1 / 1.2))
        red, green, blue = (
            f32(0.54) - f32(0.10) * edge, f32(0.50) - f32(0.16) * edge, f32(0.48) - f32(0.17) * edge,
        )  # fmt: skip
    return EYE, red, green, blue, f32(1.4), _WET, open_share, nx, ny, nz


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def mouth_or_lash(traits, at, nx, ny, nz, material):
    """Teeth, tongue and cavity, darker further in; lashes."""
    zero, openness = f32(0), mix(traits, at, OPENNESS)
    depth = _smoothstep(0.92, 1.4, mix(traits, at, CANONICAL_Z))
    if material == 5:
        return EYE, f32(0.025), f32(0.018), f32(0.015), zero, _SOFT, openness, nx, ny, nz
    if material == 3:
        gap = f32(0.75) if abs(math.sin(mix(traits, at, CANONICAL_X) * f32(38))) < f32(0.12) else f32(1)
        return (
            MOUTH, f32(0.64) * gap, f32(0.59) * gap, f32(0.48) * gap, f32(0.3), _SOFT,
            f32(0.3) + f32(0.6) * depth, nx, ny, nz,
        )  # fmt: skip
    if material == 4:
        return (
            MOUTH, f32(0.42), f32(0.14), f32(0.14), f32(0.25), _SOFT, f32(0.2) + f32(0.55) * depth, nx, ny, nz,
        )  # fmt: skip
    return MOUTH, f32(0.11), f32(0.025), f32(0.025), zero, _SOFT, f32(0.25), nx, ny, nz


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def shell(traits, at, nx, ny, nz, hair, strands):
    """A strand: darker near its root and between locks, tilted at random for a broken highlight."""
    half = f32(0.5)
    strand = strand_height(strands, mix(traits, at, STRAND_U), mix(traits, at, STRAND_V))
    height = mix(traits, at, HEIGHT)
    tone = (half + half * height) * (f32(0.65) + f32(0.7) * strand)
    tilt = f32(0.4) * (strand - half)
    open_share = (f32(0.45) + f32(0.55) * mix(traits, at, OPENNESS)) * (f32(0.55) + f32(0.45) * height)
    return (
        HAIR, hair[0] * tone, hair[1] * tone, hair[2] * tone, f32(0.3) * height, _SATIN, open_share,
        nx + tilt, ny + half * tilt, nz,
    )  # fmt: skip
