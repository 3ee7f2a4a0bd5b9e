"""Compiled shading: from triangle numbers at 2×2 samples of each pixel to light and labels."""

from typing import NamedTuple

import numpy as np
from numba import njit

from data_modules.synthetic_faces import materials
from data_modules.synthetic_faces.kernels import weights_at
from data_modules.synthetic_faces.lighting import illuminate, lit_share
from data_modules.synthetic_faces.materials import mix, unit

_SKIN, _LEFT_EYE, _RIGHT_EYE, _HAIR = 0, 1, 2, 7  # materials of triangles


class Look(NamedTuple):
    """The person: textures on the skin atlas and colours, float32 and linear RGB."""

    albedo: np.ndarray  # (H, W, 3)
    part: np.ndarray  # (H, W) uint8
    relief: np.ndarray  # (H, W) decimetres
    texels: np.float32  # of these maps, per decimetre
    oiliness: np.float32
    rotation: np.ndarray  # (3, 3) of the head
    eyes: np.ndarray  # (2, 3) canonical centres
    gaze: np.ndarray  # (3,) head axes
    iris: np.ndarray
    hair: np.ndarray
    strands: np.ndarray  # (S, S)
    clothing: np.ndarray


@njit(cache=True, fastmath=True, error_model="numpy")
def shade(number, depth, screen, triangles, material, normals, traits, look, lamps, pixel, image):
    """Colour an `image` (H, W, 3) of linear RGB, in place, where triangles cover it.

    `number`, `depth` (2H, 2W): triangle and depth at each sample; `screen`, `normals` (V, 3), `traits` (V,
    TRAITS); `material` by triangle: 0 skin, 1 and 2 eyes, 3 teeth, 4 tongue, 5 lashes, 6 mouth cavity, 7
    hair. `pixel`: decimetres of a pixel's side. A pixel on smooth skin is shaded once, inside hair at two
    samples, elsewhere at all four. Returns labels (H, W) uint8 and the mean light of what is not background.
    """
    # Arrays are taken out of the tuples once: per pixel that would cost more than the shading.
    albedo, part, relief, texels = look.albedo, look.part, look.relief, look.texels
    oiliness, rotation, eyes, gaze = look.oiliness, look.rotation, look.eyes, look.gaze
    iris, hair, strands, clothing = look.iris, look.hair, look.strands, look.clothing
    direction, half_way, key, sky = lamps.direction, lamps.half_way, lamps.key, lamps.sky
    floor, fill, fill_direction = lamps.floor, lamps.fill, lamps.fill_direction
    shadow, place, origin, lift = lamps.shadow, lamps.place, lamps.origin, lamps.lift
    labels = np.zeros(image.shape[:2], np.uint8)
    zero, one, quarter, half = np.float32(0), np.float32(1), np.float32(0.25), np.float32(0.5)
    step = np.float32(2.5) * pixel  # nearer samples belong to one smooth surface
    light_sum, light_count = np.float64(0), np.float64(0)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            smooth, tress, covered, nearest, furthest = True, True, 0, np.float32(1e9), np.float32(-1e9)
            for k in range(4):
                row, column = np.uint32(2 * y + k // 2), np.uint32(2 * x + k % 2)
                t = number[row, column]
                if t >= 0:
                    covered += 1
                    nearest, furthest = min(nearest, depth[row, column]), max(furthest, depth[row, column])
                    smooth &= material[t] == _SKIN
                    tress &= material[t] == _HAIR
            if covered == 0:
                continue
            smooth &= covered == 4 and furthest - nearest < step
            tress &= covered == 4
            stride = 4 if smooth else (3 if tress else 1)  # one sample, two across the diagonal, or all
            weight = one if smooth else (half if tress else quarter)
            red, green, blue, lit = zero, zero, zero, -one
            for k in range(0, 4, stride):
                row, column = np.uint32(2 * y + k // 2), np.uint32(2 * x + k % 2)
                t = np.int32(number[row, column])
                if t < 0:
                    continue
                shift = half if smooth else zero
                px, py = np.float32(column) + half + shift, np.float32(row) + half + shift
                a, b, c = np.uint32(triangles[t, 0]), np.uint32(triangles[t, 1]), np.uint32(triangles[t, 2])
                w1, w2 = weights_at(screen, a, b, c, px, py)
                if smooth:  # the middle may lie outside this sample's triangle
                    w1, w2 = min(max(w1, zero), one), min(max(w2, zero), one)
                    over = max(one, w1 + w2)
                    w1, w2 = w1 / over, w2 / over
                at = (a, b, c, one - w1 - w2, w1, w2)
                nx, ny, nz = unit(mix(normals, at, 0), mix(normals, at, 1), mix(normals, at, 2))
                if lit < zero:  # one shadow test for the samples of a pixel
                    lit = lit_share(px, py, depth[row, column], nx, ny, nz, shadow, place, origin, lift)
                m = material[t]
                if m == _SKIN:
                    surface = materials.skin(
                        traits, at, nx, ny, nz, albedo, part, relief, texels, oiliness, rotation, strands,
                        hair, clothing, pixel,
                    )  # fmt: skip
                elif m == _HAIR:
                    surface = materials.shell(traits, at, nx, ny, nz, hair, strands)
                elif m in (_LEFT_EYE, _RIGHT_EYE):
                    surface = materials.eye(traits, at, nx, ny, nz, eyes, m - _LEFT_EYE, gaze, iris, strands)
                else:
                    surface = materials.mouth_or_lash(traits, at, nx, ny, nz, m)
                r, g, b_ = illuminate(
                    surface, lit, direction, half_way, key, sky, floor, fill, fill_direction
                )
                red += weight * r
                green += weight * g
                blue += weight * b_
                if k == 0:
                    labels[y, x] = surface[0]
            light_sum += red + green + blue
            share = quarter * covered
            light_count += share
            image[y, x, 0] = image[y, x, 0] * (one - share) + red
            image[y, x, 1] = image[y, x, 1] * (one - share) + green
            image[y, x, 2] = image[y, x, 2] * (one - share) + blue
    return labels, light_sum / max(1.0, 3 * light_count)
