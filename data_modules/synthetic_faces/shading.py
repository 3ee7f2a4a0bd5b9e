"""Compiled shading: which material a pixel shows, and its colour under the scene's light."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from data_modules.synthetic_faces.atlas import AXIS_Z, TEXELS
from data_modules.synthetic_faces.kernels import INSIDE, triangle_setup

BACKGROUND, SKIN, BROW, EYE, LIPS, MOUTH, HAIR, CLOTHES = range(8)  # labels of the segmentation
LABEL_NAMES = ("background", "skin", "brow", "eye", "lips", "mouth", "hair", "clothes")

# Columns of the vertex traits, which stay the same from frame to frame.
(
    CANONICAL_X,
    CANONICAL_Y,
    CANONICAL_Z,
    TEXEL_U,
    TEXEL_V,
    OPENNESS,
    FRONTNESS,
    COVER,
    HEIGHT,
    STRAND_U,
    STRAND_V,
) = range(11)
TRAITS = 11
_SATIN, _SOFT, _WET = 3, 4, 7  # highlights: the cosine to the power of 8, 16, 128
_IRIS_ANGLE = 0.46  # radians from the gaze to the rim of the iris
_BROW_PART, _LIP_PART = 1, 2  # of the skin's part map


class Look(NamedTuple):
    """The person: textures on the skin atlas and colours, float32 and linear RGB."""

    albedo: np.ndarray  # (H, W, 3)
    part: np.ndarray  # (H, W) uint8
    relief: np.ndarray  # (H, W) decimetres
    oiliness: float
    rotation: np.ndarray  # (3, 3) of the head
    eyes: np.ndarray  # (2, 3) canonical centres
    gaze: np.ndarray  # (3,) head axes
    iris: np.ndarray
    hair: np.ndarray
    strands: np.ndarray  # (S, S)
    clothing: np.ndarray
    collar: float  # canonical height


class Lamps(NamedTuple):
    """The light: key with its shadow map, ambient from above and below, fill."""

    direction: np.ndarray  # (3,)
    key: np.ndarray
    sky: np.ndarray
    floor: np.ndarray
    fill_direction: np.ndarray
    fill: np.ndarray
    axes: np.ndarray  # (3, 3) columns: the shadow map's x, y and depth
    shadow: np.ndarray  # (M, M)
    shadow_scale: float  # its pixels per decimetre


@njit(cache=True, fastmath=True, error_model="numpy")
def _mix(values, at, column):
    """A column of vertex values (V, C) at a place in a triangle: `at` = three corners and their weights."""
    return at[3] * values[at[0], column] + at[4] * values[at[1], column] + at[5] * values[at[2], column]


@njit(cache=True, fastmath=True, error_model="numpy")
def _strand(traits, at, texture):
    """Height of the hair's strand (0-1) at a place."""
    return _tiled(texture, _mix(traits, at, STRAND_U), _mix(traits, at, STRAND_V))


@njit(cache=True, fastmath=True, error_model="numpy")
def _tiled(texture, x, y):
    """A square grey texture, repeated; its side is a power of two."""
    mask = texture.shape[0] - 1
    i, j = math.floor(x), math.floor(y)
    a, b = x - i, y - j
    left, right, top, bottom = i & mask, (i + 1) & mask, j & mask, (j + 1) & mask
    high = texture[top, left] * (1 - a) + texture[top, right] * a
    return high * (1 - b) + (texture[bottom, left] * (1 - a) + texture[bottom, right] * a) * b


@njit(cache=True, fastmath=True, error_model="numpy")
def _smoothstep(low, high, x):
    t = min(1.0, max(0.0, (x - low) / (high - low)))
    return t * t * (3 - 2 * t)


@njit(cache=True, fastmath=True, error_model="numpy")
def _needed(traits, vertex):
    """How high (0-1) a strand must be to reach a vertex of a shell; below 0 all do, from 1 on none does."""
    return (0.62 * traits[vertex, HEIGHT] - 1.1 * traits[vertex, COVER] + 0.75) / 0.65


@njit(cache=True, fastmath=True, error_model="numpy")
def rasterize_strands(screen, triangles, solid, first, traits, texture, depth, number, weights):
    """Draw hair into a z-buffer, in place: a pixel is hair where the strand there is as high as the shell.

    `solid` (T,) bool: True where the back of a triangle is not drawn. `traits` (V, TRAITS). Triangle t is
    written as number `first` + t.
    """
    rows, columns = depth.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        area, left, right, top, bottom, c1, x1, y1, c2, x2, y2 = triangle_setup(
            screen, a, b, c, rows, columns
        )
        if abs(area) < 1e-9 or (solid[t] and area > 0):
            continue
        need_a, need_b, need_c = _needed(traits, a), _needed(traits, b), _needed(traits, c)
        if min(need_a, need_b, need_c) >= 1:
            continue  # no strand reaches this far
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                w1 = c1 + x1 * (x + 0.5) + y1 * (y + 0.5)
                w2 = c2 + x2 * (x + 0.5) + y2 * (y + 0.5)
                w0 = 1.0 - w1 - w2
                if w0 < INSIDE or w1 < INSIDE or w2 < INSIDE:
                    continue
                z = w0 * screen[a, 2] + w1 * screen[b, 2] + w2 * screen[c, 2]
                if z >= depth[y, x]:
                    continue
                needed = w0 * need_a + w1 * need_b + w2 * need_c
                if needed < 1 and (needed < 0 or _strand(traits, (a, b, c, w0, w1, w2), texture) > needed):
                    depth[y, x] = z
                    number[y, x] = first + t
                    weights[y, x, 0] = w1
                    weights[y, x, 1] = w2


@njit(cache=True, fastmath=True, error_model="numpy")
def shade(number, weights, triangles, material, moving, traits, look, lamps, image):
    """Colour every covered pixel of `image` (H, W, 3), linear RGB, in place; returns the labels (H, W) uint8.

    `moving` (V, 6): points and normals in camera axes; `traits` (V, TRAITS). `material` by triangle: 0 skin,
    1 and 2 eyes, 3 teeth, 4 tongue, 5 lashes, 6 mouth cavity, 7 hair.

    A material gives (label, red, green, blue, gloss, doublings of the highlight's exponent, share of open
    sky, normal x, y, z).
    """
    rows, columns = number.shape
    labels = np.zeros((rows, columns), np.uint8)
    lit_blocks = np.full((rows // 2 + 1, columns // 2 + 1), -1.0, np.float32)
    # Arrays are taken out of the tuples once: per pixel that would cost more than the shading.
    albedo, part, relief, strands, rotation, eyes = (
        look.albedo, look.part, look.relief, look.strands, look.rotation, look.eyes,
    )  # fmt: skip
    gaze, iris, hair, clothing = look.gaze, look.iris, look.hair, look.clothing
    oiliness, collar, shadow_scale = look.oiliness, look.collar, lamps.shadow_scale
    axes, shadow, direction, key = lamps.axes, lamps.shadow, lamps.direction, lamps.key
    sky, floor, fill_direction, fill = lamps.sky, lamps.floor, lamps.fill_direction, lamps.fill
    for y in range(rows):
        for x in range(columns):
            t = number[y, x]
            if t < 0:
                continue
            w1, w2 = weights[y, x, 0], weights[y, x, 1]
            a, b, c = np.uint32(triangles[t, 0]), np.uint32(triangles[t, 1]), np.uint32(triangles[t, 2])
            at = (a, b, c, 1 - w1 - w2, w1, w2)
            nx, ny, nz = _unit(_mix(moving, at, 3), _mix(moving, at, 4), _mix(moving, at, 5))
            lit = lit_blocks[y // 2, x // 2]  # one shadow test for the 2×2 samples of an output pixel
            if lit < 0:
                px, py, pz = _mix(moving, at, 0), _mix(moving, at, 1), _mix(moving, at, 2)
                lit = _lit_share(px + 0.05 * nx, py + 0.05 * ny, pz + 0.05 * nz, axes, shadow, shadow_scale)
                lit_blocks[y // 2, x // 2] = lit
            m = material[t]
            if m == 0:
                surface = _skin(
                    traits, at, nx, ny, nz, albedo, part, relief, oiliness, rotation, strands, hair,
                    clothing, collar,
                )  # fmt: skip
            elif m == 1 or m == 2:
                surface = _eye(traits, at, nx, ny, nz, eyes, m - 1, gaze, iris, strands)
            elif m == 7:
                surface = _hair(traits, at, nx, ny, nz, hair, strands)
            else:
                surface = _mouth_or_lash(traits, at, nx, ny, nz, m)
            labels[y, x] = surface[0]
            _illuminate(surface, lit, direction, key, sky, floor, fill_direction, fill, image, y, x)
    return labels


@njit(cache=True, fastmath=True, error_model="numpy")
def _unit(x, y, z):
    scale = 1 / math.sqrt(x * x + y * y + z * z + 1e-9)
    return x * scale, y * scale, z * scale


@njit(cache=True, fastmath=True, error_model="numpy")
def _open_share(traits, at):
    return min(1.0, 1.2 * _mix(traits, at, OPENNESS))


@njit(cache=True, fastmath=True, error_model="numpy")
def _skin(traits, at, nx, ny, nz, albedo, part, relief, oiliness, rotation, strands, hair, clothing, collar):
    """Skin with its texture and relief, roots of hair, lips, brows; below the collar, clothes."""
    open_share = _open_share(traits, at)
    cx, cy = _mix(traits, at, CANONICAL_X), _mix(traits, at, CANONICAL_Y)
    if cy < collar + 0.12 * abs(cx):
        return CLOTHES, clothing[0], clothing[1], clothing[2], 0.0, _SOFT, open_share, nx, ny, nz
    u = min(max(_mix(traits, at, TEXEL_U) - 0.5, 0.0), relief.shape[1] - 1.01)
    v = min(max(_mix(traits, at, TEXEL_V) - 0.5, 0.0), relief.shape[0] - 1.01)
    i, j = int(u), int(v)
    fu, fv = u - i, v - j
    red, green, blue = (
        _texel(albedo, j, i, fu, fv, 0), _texel(albedo, j, i, fu, fv, 1), _texel(albedo, j, i, fu, fv, 2),
    )  # fmt: skip
    label, gloss = SKIN, oiliness
    front = _mix(traits, at, FRONTNESS)
    if front > 0:
        z = _mix(traits, at, CANONICAL_Z) - AXIS_Z
        nx, ny, nz, hollow = _emboss(nx, ny, nz, relief, j, i, fu, fv, front, cx, z, rotation)
        open_share *= hollow
        if part[j, i] == _LIP_PART:
            label, gloss = LIPS, 1.6 * oiliness
        elif part[j, i] == _BROW_PART:
            label, gloss = BROW, 0.3 * oiliness
    cover = _mix(traits, at, COVER)
    if cover > 0:
        root = _smoothstep(0.25, 0.75, 0.6 * _strand(traits, at, strands) + 1.1 * cover - 0.45)
        red = red * (1 - root) + 0.7 * hair[0] * root
        green = green * (1 - root) + 0.7 * hair[1] * root
        blue = blue * (1 - root) + 0.7 * hair[2] * root
        gloss *= 1 - root
        if root > 0.5:
            label = HAIR
    return label, red, green, blue, gloss, _SOFT, open_share, nx, ny, nz


@njit(cache=True, fastmath=True, error_model="numpy")
def _texel(texture, j, i, fu, fv, k):
    top = texture[j, i, k] * (1 - fu) + texture[j, i + 1, k] * fu
    return top * (1 - fv) + (texture[j + 1, i, k] * (1 - fu) + texture[j + 1, i + 1, k] * fu) * fv


@njit(cache=True, fastmath=True, error_model="numpy")
def _emboss(nx, ny, nz, relief, j, i, fu, fv, front, x, z, rotation):
    """The normal tilted by the slope of the relief, and how much light its hollows keep."""
    r00, r10, r01, r11 = relief[j, i], relief[j, i + 1], relief[j + 1, i], relief[j + 1, i + 1]
    along = ((r10 - r00) * (1 - fv) + (r11 - r01) * fv) * TEXELS * front  # slope along the cylinder's arc
    up = ((r00 - r01) * (1 - fu) + (r10 - r11) * fu) * TEXELS * front
    across = along / math.sqrt(x * x + z * z + 1e-9)
    ax, az = z * across, -x * across
    nx -= ax * rotation[0, 0] + az * rotation[0, 2] + up * rotation[0, 1]
    ny -= ax * rotation[1, 0] + az * rotation[1, 2] + up * rotation[1, 1]
    nz -= ax * rotation[2, 0] + az * rotation[2, 2] + up * rotation[2, 1]
    nx, ny, nz = _unit(nx, ny, nz)
    height = (r00 * (1 - fu) + r10 * fu) * (1 - fv) + (r01 * (1 - fu) + r11 * fu) * fv
    return nx, ny, nz, max(0.3, min(1.15, 1 + 40.0 * front * height))


@njit(cache=True, fastmath=True, error_model="numpy")
def _eye(traits, at, nx, ny, nz, eyes, side, gaze, iris, strands):
    """An eyeball: pupil, iris with its fibres and rim, white that reddens outwards, shade under the upper
    lid."""
    dy = _mix(traits, at, CANONICAL_Y) - eyes[side, 1]
    open_share = (0.4 + 0.55 * _open_share(traits, at)) * (1 - 0.45 * _smoothstep(-0.01, 0.05, dy))
    dx, dy, dz = _unit(
        _mix(traits, at, CANONICAL_X) - eyes[side, 0], dy, _mix(traits, at, CANONICAL_Z) - eyes[side, 2]
    )
    angle = math.acos(min(1.0, max(-1.0, dx * gaze[0] + dy * gaze[1] + dz * gaze[2]))) / _IRIS_ANGLE
    if angle < 0.36:
        red, green, blue = 0.004, 0.004, 0.004
    elif angle < 1.0:
        fibre = math.atan2(dy - gaze[1], dx - gaze[0]) * 40
        tone = (0.7 + 0.6 * (angle - 0.36) / 0.64) * (0.75 + 0.5 * _tiled(strands, fibre, angle * 6))
        tone *= 1 - 0.75 * _smoothstep(0.82, 1.0, angle)
        red, green, blue = iris[0] * tone, iris[1] * tone, iris[2] * tone
    else:
        edge = min(1.0, (angle - 1) / 1.2)
        red, green, blue = 0.54 - 0.10 * edge, 0.50 - 0.16 * edge, 0.48 - 0.17 * edge
    return EYE, red, green, blue, 1.4, _WET, open_share, nx, ny, nz


@njit(cache=True, fastmath=True, error_model="numpy")
def _mouth_or_lash(traits, at, nx, ny, nz, material):
    """Teeth, tongue and cavity, darker further in; lashes."""
    if material == 5:
        return EYE, 0.025, 0.018, 0.015, 0.0, _SOFT, _open_share(traits, at), nx, ny, nz
    depth = _smoothstep(0.92, 1.4, _mix(traits, at, CANONICAL_Z))
    if material == 3:
        gap = 0.75 if abs(math.sin(_mix(traits, at, CANONICAL_X) * 38.0)) < 0.12 else 1.0
        return MOUTH, 0.64 * gap, 0.59 * gap, 0.48 * gap, 0.3, _SOFT, 0.3 + 0.6 * depth, nx, ny, nz
    if material == 4:
        return MOUTH, 0.42, 0.14, 0.14, 0.25, _SOFT, 0.2 + 0.55 * depth, nx, ny, nz
    return MOUTH, 0.11, 0.025, 0.025, 0.0, _SOFT, 0.25, nx, ny, nz


@njit(cache=True, fastmath=True, error_model="numpy")
def _hair(traits, at, nx, ny, nz, hair, strands):
    """A strand: darker near its root and between locks, tilted at random for a broken highlight."""
    strand, height = _strand(traits, at, strands), _mix(traits, at, HEIGHT)
    tone = (0.5 + 0.5 * height) * (0.65 + 0.7 * strand)
    tilt = 0.4 * (strand - 0.5)
    open_share = (0.45 + 0.55 * _open_share(traits, at)) * (0.55 + 0.45 * height)
    return (
        HAIR, hair[0] * tone, hair[1] * tone, hair[2] * tone, 0.3 * height, _SATIN, open_share,
        nx + tilt, ny + 0.5 * tilt, nz,
    )  # fmt: skip


@njit(cache=True, fastmath=True, error_model="numpy")
def _lit_share(px, py, pz, axes, shadow, scale):
    """Share of the key light that reaches a place: 5×5 tests in the shadow map."""
    size = shadow.shape[0]
    x = (px * axes[0, 0] + py * axes[1, 0] + pz * axes[2, 0]) * scale + size / 2
    y = (px * axes[0, 1] + py * axes[1, 1] + pz * axes[2, 1]) * scale + size / 2
    z = px * axes[0, 2] + py * axes[1, 2] + pz * axes[2, 2] - 0.05
    lit = 0
    i, j = min(max(int(x), 2), size - 3), min(max(int(y), 2), size - 3)
    for row in range(j - 2, j + 3):
        for column in range(i - 2, i + 3):
            if z < shadow[row, column]:
                lit += 1
    return lit / 25.0


@njit(cache=True, fastmath=True, error_model="numpy")
def _illuminate(surface, lit, direction, key, sky, floor, fill_direction, fill, image, y, x):
    """Light a surface into a pixel: wrapped diffuse key, ambient, fill, and two highlights of the key."""
    _, red, green, blue, gloss, doublings, open_share, nx, ny, nz = surface
    facing = nx * direction[0] + ny * direction[1] + nz * direction[2]
    filled = max(0.0, nx * fill_direction[0] + ny * fill_direction[1] + nz * fill_direction[2])
    up = 0.5 + 0.5 * ny
    shine = 0.0
    if gloss > 0:
        hx, hy, hz = _unit(direction[0], direction[1], direction[2] + 1.0)  # half-way to the camera
        lobe = max(0.0, nx * hx + ny * hy + nz * hz)
        for _ in range(doublings):
            lobe *= lobe
        rim = 1 - max(0.0, nz)
        shine = (
            gloss
            * (0.08 * lobe + 0.05 * lobe * lobe * lobe * lobe)
            * lit
            * (0.65 + 0.75 * rim * rim * rim)
            * open_share
        )
    # Light spreads under skin, red furthest: its terminator is softer, and shadows keep a little of it.
    direct = 0.5 + 0.5 * open_share
    warm = max(0.0, (facing + 0.35) / 1.35) * (0.08 + 0.92 * lit) * direct
    cool = max(0.0, (facing + 0.15) / 1.15) * (0.02 + 0.92 * lit) * direct
    down = 1 - up
    ambient = (sky[0] * up + floor[0] * down + fill[0] * filled) * open_share
    image[y, x, 0] = red * (key[0] * warm + ambient) + shine * key[0]
    ambient = (sky[1] * up + floor[1] * down + fill[1] * filled) * open_share
    image[y, x, 1] = green * (key[1] * cool + ambient) + shine * key[1]
    ambient = (sky[2] * up + floor[2] * down + fill[2] * filled) * open_share
    image[y, x, 2] = blue * (key[2] * cool + ambient) + shine * key[2]
