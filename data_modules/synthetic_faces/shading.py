"""Compiled shading: which material a pixel shows, and its colour under the scene's light."""

import math

import numpy as np
from numba import njit

from data_modules.synthetic_faces.atlas import AXIS_Z
from data_modules.synthetic_faces.kernels import INSIDE, bilinear, triangle_setup

BACKGROUND, SKIN, BROW, EYE, LIPS, MOUTH, HAIR, CLOTHES = range(8)  # labels of the segmentation
_STRANDS = np.float32(510)


@njit(cache=True, fastmath=True)
def rasterize_strands(screen, triangles, first, cover, height, strand, texture, depth, number, weights):
    """Draw hair shells into a z-buffer, in place: a pixel is hair where the strand there reaches the shell.

    `cover`, `height` (V,) and `strand` (V, 2) are per vertex; triangle t is written as number `first` + t.
    """
    rows, columns = depth.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        area, left, right, top, bottom, c1, x1, y1, c2, x2, y2 = triangle_setup(screen, a, b, c, rows, columns)
        if area > -1e-9:
            continue
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
                u = w0 * strand[a, 0] + w1 * strand[b, 0] + w2 * strand[c, 0]
                v = w0 * strand[a, 1] + w1 * strand[b, 1] + w2 * strand[c, 1]
                reach = bilinear(texture, u % _STRANDS, v % _STRANDS)
                grown = w0 * cover[a] + w1 * cover[b] + w2 * cover[c]
                if reach * 0.65 + 1.1 * grown - 0.75 > 0.62 * (
                    w0 * height[a] + w1 * height[b] + w2 * height[c]
                ):
                    depth[y, x] = z
                    number[y, x] = first + t
                    weights[y, x, 0] = w1
                    weights[y, x, 1] = w2


@njit(cache=True, fastmath=True)
def _smoothstep(low, high, x):
    t = min(1.0, max(0.0, (x - low) / (high - low)))
    return t * t * (3 - 2 * t)


@njit(cache=True, fastmath=True)
def _lit_share(shadow, x, y, z):
    """Share of the light that reaches a point of the light's view: 5×5 soft shadow test."""
    lit = 0.0
    i, j = int(x), int(y)
    for dj in range(-2, 3):
        for di in range(-2, 3):
            row = min(max(j + dj, 0), shadow.shape[0] - 1)
            column = min(max(i + di, 0), shadow.shape[1] - 1)
            if z < shadow[row, column] + 0.05:
                lit += 1.0
    return lit / 25.0


@njit(cache=True, fastmath=True)
def _eye_colour(dx, dy, dz, gaze, iris, texture):
    """Colour of an eyeball in the direction (dx, dy, dz) from its centre, head axes: pupil, iris, rim, white."""
    length = 1 / math.sqrt(dx * dx + dy * dy + dz * dz + 1e-12)
    dx, dy, dz = dx * length, dy * length, dz * length
    angle = math.acos(min(1.0, max(-1.0, dx * gaze[0] + dy * gaze[1] + dz * gaze[2]))) / 0.46
    if angle < 0.36:
        return 0.004, 0.004, 0.004
    if angle < 1.0:
        ray = bilinear(texture, (math.atan2(dy - gaze[1], dx - gaze[0]) * 40 + 200) % _STRANDS, angle * 6)
        shade = (0.7 + 0.6 * (angle - 0.36) / 0.64) * (0.75 + 0.5 * ray)
        shade *= 1 - 0.75 * _smoothstep(0.82, 1.0, angle)
        return iris[0] * shade, iris[1] * shade, iris[2] * shade
    edge = min(1.0, (angle - 1) / 1.2)
    return 0.78 - 0.12 * edge, 0.73 - 0.22 * edge, 0.70 - 0.24 * edge


@njit(cache=True, fastmath=True)
def shade(
    number, weights, triangles, material, points, normals, canonical, texel, openness, frontness, cover, height, strand,
    albedo, part, relief, slope_u, slope_v, wet, rotation, eyes, gaze, iris, hair, clothing, collar,
    light, key, sky, floor, fill_direction, fill, to_light, shadow, shadow_scale, strands, image,
):  # fmt: skip
    """Colour every covered pixel of `image` (H, W, 3), linear RGB, in place; returns the labels (H, W) uint8.

    Per-vertex arrays: points, normals in camera axes; canonical, texel, openness (ambient), frontness (how well the
    atlas holds), hair cover, shell height (0 = not hair) and strand coordinates. `material` per triangle: 0 skin,
    1 and 2 eyes, 3 teeth, 4 tongue, 5 lashes, 6 mouth cavity, 7 hair.
    """
    rows, columns = number.shape
    labels = np.zeros((rows, columns), np.uint8)
    lit_blocks = np.full((rows // 2 + 1, columns // 2 + 1), -1.0, np.float32)
    half_x, half_y, half_z = light[0], light[1], light[2] + 1.0
    half = 1 / math.sqrt(half_x * half_x + half_y * half_y + half_z * half_z)
    half_x, half_y, half_z = half_x * half, half_y * half, half_z * half
    for y in range(rows):
        for x in range(columns):
            t = number[y, x]
            if t < 0:
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            w1, w2 = weights[y, x, 0], weights[y, x, 1]
            w0 = 1 - w1 - w2
            nx = w0 * normals[a, 0] + w1 * normals[b, 0] + w2 * normals[c, 0]
            ny = w0 * normals[a, 1] + w1 * normals[b, 1] + w2 * normals[c, 1]
            nz = w0 * normals[a, 2] + w1 * normals[b, 2] + w2 * normals[c, 2]
            length = 1 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-9)
            nx, ny, nz = nx * length, ny * length, nz * length
            px = w0 * points[a, 0] + w1 * points[b, 0] + w2 * points[c, 0] + 0.05 * nx
            py = w0 * points[a, 1] + w1 * points[b, 1] + w2 * points[c, 1] + 0.05 * ny
            pz = w0 * points[a, 2] + w1 * points[b, 2] + w2 * points[c, 2] + 0.05 * nz
            cx = w0 * canonical[a, 0] + w1 * canonical[b, 0] + w2 * canonical[c, 0]
            cy = w0 * canonical[a, 1] + w1 * canonical[b, 1] + w2 * canonical[c, 1]
            cz = w0 * canonical[a, 2] + w1 * canonical[b, 2] + w2 * canonical[c, 2]
            ambient = min(1.0, 1.2 * (w0 * openness[a] + w1 * openness[b] + w2 * openness[c]))
            gloss, sharp, wrap, cavity = 0.0, 20.0, 0.25, 1.0
            m = material[t]
            label = SKIN
            if m == 0:
                u = w0 * texel[a, 0] + w1 * texel[b, 0] + w2 * texel[c, 0]
                v = w0 * texel[a, 1] + w1 * texel[b, 1] + w2 * texel[c, 1]
                i, j = (
                    int(min(max(u, 0.0), albedo.shape[1] - 2.0)),
                    int(min(max(v, 0.0), albedo.shape[0] - 2.0)),
                )
                fu, fv = min(max(u - i, 0.0), 1.0), min(max(v - j, 0.0), 1.0)
                q00, q10, q01, q11 = (1 - fu) * (1 - fv), fu * (1 - fv), (1 - fu) * fv, fu * fv
                red = (
                    q00 * albedo[j, i, 0]
                    + q10 * albedo[j, i + 1, 0]
                    + q01 * albedo[j + 1, i, 0]
                    + q11 * albedo[j + 1, i + 1, 0]
                )
                green = (
                    q00 * albedo[j, i, 1]
                    + q10 * albedo[j, i + 1, 1]
                    + q01 * albedo[j + 1, i, 1]
                    + q11 * albedo[j + 1, i + 1, 1]
                )
                blue = (
                    q00 * albedo[j, i, 2]
                    + q10 * albedo[j, i + 1, 2]
                    + q01 * albedo[j + 1, i, 2]
                    + q11 * albedo[j + 1, i + 1, 2]
                )
                gloss = wet
                front = w0 * frontness[a] + w1 * frontness[b] + w2 * frontness[c]
                if front > 0:
                    du, dv = bilinear(slope_u, u, v) * front, bilinear(slope_v, u, v) * front
                    across = 1 / math.sqrt(cx * cx + (cz - AXIS_Z) * (cz - AXIS_Z) + 1e-9)
                    tx, tz = (cz - AXIS_Z) * across, -cx * across  # the direction of u on the cylinder
                    nx -= du * (tx * rotation[0, 0] + tz * rotation[0, 2]) + dv * rotation[0, 1]
                    ny -= du * (tx * rotation[1, 0] + tz * rotation[1, 2]) + dv * rotation[1, 1]
                    nz -= du * (tx * rotation[2, 0] + tz * rotation[2, 2]) + dv * rotation[2, 1]
                    length = 1 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-9)
                    nx, ny, nz = nx * length, ny * length, nz * length
                    cavity = max(0.3, min(1.15, 1 + 40.0 * front * bilinear(relief, u, v)))
                    if part[j, i] == 2:
                        label = LIPS
                        gloss = wet * 1.6
                    elif part[j, i] == 1:
                        label = BROW
                        gloss = 0.3 * wet
                grown = w0 * cover[a] + w1 * cover[b] + w2 * cover[c]
                if grown > 0:
                    su = w0 * strand[a, 0] + w1 * strand[b, 0] + w2 * strand[c, 0]
                    sv = w0 * strand[a, 1] + w1 * strand[b, 1] + w2 * strand[c, 1]
                    reach = bilinear(strands, su % _STRANDS, sv % _STRANDS)
                    root = _smoothstep(0.25, 0.75, reach * 0.6 + grown * 1.1 - 0.45)
                    red = red * (1 - root) + 0.7 * hair[0] * root
                    green = green * (1 - root) + 0.7 * hair[1] * root
                    blue = blue * (1 - root) + 0.7 * hair[2] * root
                    gloss *= 1 - root
                    if root > 0.5:
                        label = HAIR
                if cy < collar + 0.12 * abs(cx):
                    red, green, blue = clothing[0], clothing[1], clothing[2]
                    gloss = 0.0
                    label = CLOTHES
            elif m == 1 or m == 2:
                red, green, blue = _eye_colour(
                    cx - eyes[m - 1, 0], cy - eyes[m - 1, 1], cz - eyes[m - 1, 2], gaze, iris, strands
                )
                gloss, sharp, wrap = 1.4, 140.0, 0.3
                ambient = (0.4 + 0.55 * ambient) * (1 - 0.45 * _smoothstep(-0.01, 0.05, cy - eyes[m - 1, 1]))
                label = EYE
            elif m == 3:
                red, green, blue = 0.80, 0.76, 0.66
                if abs(math.sin(cx * 38.0)) < 0.12:
                    red, green, blue = 0.6, 0.54, 0.45
                gloss = 0.3
                ambient = 0.3 + 0.6 * _smoothstep(0.95, 1.4, cz)
                label = MOUTH
            elif m == 4:
                red, green, blue = 0.42, 0.14, 0.14
                gloss = 0.25
                ambient = 0.2 + 0.55 * _smoothstep(0.9, 1.4, cz)
                label = MOUTH
            elif m == 5:
                red, green, blue = 0.025, 0.018, 0.015
                label = EYE
            elif m == 6:
                red, green, blue = 0.11, 0.025, 0.025
                ambient = 0.25
                label = MOUTH
            else:
                su = w0 * strand[a, 0] + w1 * strand[b, 0] + w2 * strand[c, 0]
                sv = w0 * strand[a, 1] + w1 * strand[b, 1] + w2 * strand[c, 1]
                reach = bilinear(strands, su % _STRANDS, sv % _STRANDS)
                level = w0 * height[a] + w1 * height[b] + w2 * height[c]
                tone = (0.55 + 0.45 * level) * (0.7 + 0.6 * reach)
                red, green, blue = hair[0] * tone, hair[1] * tone, hair[2] * tone
                tilt = 0.35 * (reach - 0.5)
                nx, ny = nx + tilt, ny + 0.5 * tilt
                gloss, sharp = 0.35, 12.0
                ambient = (0.45 + 0.55 * ambient) * (0.6 + 0.4 * level)
                label = HAIR
            lit = lit_blocks[y // 2, x // 2]  # one shadow test for the 2×2 samples of an output pixel
            if lit < 0:
                lx = px * to_light[0, 0] + py * to_light[1, 0] + pz * to_light[2, 0]
                ly = px * to_light[0, 1] + py * to_light[1, 1] + pz * to_light[2, 1]
                lz = px * to_light[0, 2] + py * to_light[1, 2] + pz * to_light[2, 2]
                middle = shadow.shape[0] / 2
                lit = _lit_share(shadow, lx * shadow_scale + middle, ly * shadow_scale + middle, lz)
                lit_blocks[y // 2, x // 2] = lit
            facing = nx * light[0] + ny * light[1] + nz * light[2]
            # Light spreads under skin, red furthest: wrap the terminator by channel.
            d0 = max(0.0, (facing + 1.4 * wrap) / (1 + 1.4 * wrap)) * (0.08 + 0.92 * lit)
            d1 = max(0.0, (facing + 0.7 * wrap) / (1 + 0.7 * wrap)) * (0.02 + 0.95 * lit)
            d2 = max(0.0, (facing + 0.5 * wrap) / (1 + 0.5 * wrap)) * (0.02 + 0.95 * lit)
            filled = max(0.0, nx * fill_direction[0] + ny * fill_direction[1] + nz * fill_direction[2])
            up = 0.5 + 0.5 * ny
            hollow = ambient * cavity
            direct = 0.5 + 0.5 * hollow
            e0 = key[0] * d0 * direct + (sky[0] * up + floor[0] * (1 - up) + fill[0] * filled) * hollow
            e1 = key[1] * d1 * direct + (sky[1] * up + floor[1] * (1 - up) + fill[1] * filled) * hollow
            e2 = key[2] * d2 * direct + (sky[2] * up + floor[2] * (1 - up) + fill[2] * filled) * hollow
            mirror = max(0.0, nx * half_x + ny * half_y + nz * half_z)
            rim = 0.25 + 0.75 * (1 - max(0.0, nz)) ** 3
            lobe = mirror**sharp
            shine = gloss * (0.08 * lobe + 0.05 * lobe**4) * lit * (0.4 + rim) * hollow
            image[y, x, 0] = red * e0 + shine * key[0]
            image[y, x, 1] = green * e1 + shine * key[1]
            image[y, x, 2] = blue * e2 + shine * key[2]
            labels[y, x] = label
    return labels
