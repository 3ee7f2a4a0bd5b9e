"""Painted skin: tone, blotches, lips, brows, beard stubble, make-up, freckles and fine relief on the skin
atlas."""

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit

from data_modules.synthetic_faces.atlas import (
    HEIGHT,
    TEXELS,
    WIDTH,
    atlas,
    blob,
    crease,
    noise,
    strokes,
    texel_of,
)
from data_modules.synthetic_faces.sampler import RENDERED_AUS
from data_modules.synthetic_faces.wrinkles import halve, wrinkle_maps

# Skin tones from light to dark, sRGB.
_TONES = np.array([[244, 214, 196], [236, 197, 170], [223, 178, 146], [202, 152, 116], [172, 120, 85],
                   [136, 90, 60],                   [102, 64, 42], [76, 48, 33]])  # fmt: skip
_LIPSTICKS = np.array([[160, 40, 55], [185, 75, 85], [135, 45, 60], [195, 95, 95], [150, 70, 75]])
_LASH_COLOUR = np.array([0.022, 0.014, 0.011])
BROW_PART, LIP_PART = 1, 2


@dataclass(frozen=True)
class SkinMaps:
    """Textures on the skin atlas."""

    albedo: np.ndarray  # (H, W, 3) float32, linear RGB
    relief: np.ndarray  # (H, W) float32, decimetres: pores and lines of age
    part: np.ndarray  # (H, W) uint8: 0 plain, BROW_PART, LIP_PART


@dataclass(frozen=True, eq=False)
class Skin:
    """One person's skin."""

    full: SkinMaps
    wrinkle_depth: float  # scale of the expression wrinkles
    oiliness: float  # scale of the highlights

    @functools.lru_cache(maxsize=4)  # noqa: B019 a few people's maps, not all of them
    def maps(self, halvings: int) -> SkinMaps:
        """The textures at half the texels, so many times: for small pictures."""
        full = self.full
        part = full.part[(1 << halvings) // 2 :: 1 << halvings, (1 << halvings) // 2 :: 1 << halvings]
        return SkinMaps(
            halve(full.albedo, halvings), halve(full.relief, halvings), np.ascontiguousarray(part)
        )


def sample_skin(
    rng: np.random.Generator, maleness: float, age: float, ancestry: tuple, hair: np.ndarray
) -> Skin:
    """Paint one person's skin; `hair` is the linear RGB colour of brows and beard."""
    tone = float(np.clip(np.dot(ancestry, [5.4, 2.2, 0.9]) + rng.normal(0, 0.8), 0, len(_TONES) - 1.001))
    base = linear(_TONES[int(tone)] * (1 - tone % 1) + _TONES[int(tone) + 1] * (tone % 1))
    base *= 1 + rng.normal(0, 0.03, 3)
    albedo = _flesh(rng, base, tone, age)
    _paint_freckles(rng, albedo, tone)
    if maleness > 0.5 and rng.random() < 0.6:
        _blend(albedo, hair * 0.8, _beard(rng))
    _paint_lips(rng, albedo, base, maleness)
    if maleness < 0.5 and rng.random() < 0.35:
        _blend(
            albedo, linear(rng.uniform(40, 160, 3)), rng.uniform(0.15, 0.45) * blob(0.31, 7.37, 0.14, 0.035)
        )
    _blend(albedo, _LASH_COLOUR, rng.uniform(0.5, 0.85) * _lash_line())
    brow_cover = _brows(rng, maleness)
    _blend(albedo, hair * 0.5 + 0.006, brow_cover)  # darker than the hair of the head
    part = np.where(atlas().lips > 0.5, LIP_PART, np.where(brow_cover > 0.25, BROW_PART, 0))
    maps = SkinMaps(np.clip(albedo, 0.002, 1), _relief(rng, age), part.astype(np.uint8))
    return Skin(
        full=maps,
        wrinkle_depth=float(rng.uniform(0.7, 1.1) + 0.4 * age),
        oiliness=float(rng.uniform(0.5, 1.2)),
    )


def linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB 0-255 -> linear 0-1 (gamma 2.2)."""
    return (np.asarray(srgb, np.float64) / 255) ** 2.2


def _blend(albedo: np.ndarray, colour: np.ndarray, cover: np.ndarray) -> None:
    """Lay a colour over the albedo (H, W, 3), in place; `cover` (H, W) in 0-1."""
    _lay(albedo, cover.astype(np.float32, copy=False), np.ones(3, np.float32), np.asarray(colour, np.float32))


def _tint(albedo: np.ndarray, absorbed: list[float], cover: np.ndarray) -> None:
    """Take a share of each colour from the albedo (H, W, 3), in place; `cover` (H, W) in 0-1."""
    shares = np.array(absorbed, np.float32)
    _lay(albedo, cover.astype(np.float32, copy=False), shares, np.zeros(3, np.float32))


@njit(cache=True, fastmath=True, error_model="numpy")
def _lay(albedo, cover, absorbed, colour):
    zero, one = np.float32(0), np.float32(1)
    for row in range(albedo.shape[0]):
        for column in range(albedo.shape[1]):
            share = min(one, max(zero, cover[row, column]))
            if share > zero:
                for k in range(3):
                    kept = one - share * absorbed[k]
                    albedo[row, column, k] = albedo[row, column, k] * kept + share * colour[k]


def _flesh(rng: np.random.Generator, base: np.ndarray, tone: float, age: float) -> np.ndarray:
    """Tone, mottling, blood in cheeks, nose and chin, shaded eye sockets."""
    albedo = np.empty((HEIGHT, WIDTH, 3), np.float32)
    light, hue = 1 + 0.035 * noise(rng, (4, 8, 16, 32, 64)), 0.02 * noise(rng, (6, 12, 24))
    for k, share in enumerate((0.2, 1.0, 0.8)):
        albedo[..., k] = np.float32(base[k]) * light * (1 + share * hue)
    blood = 0.8 * blob(0.38, 7.0, 0.17, 0.13) + 0.7 * blob(0, 6.93, 0.12, 0.1) + 0.3 * blob(0, 6.3, 0.15, 0.1)
    _tint(albedo, [0.02, 0.15, 0.12], blood * (rng.uniform(0.3, 1.1) * (1 - 0.1 * tone)))
    sockets = rng.uniform(0.1, 0.3) * blob(0.3, 7.31, 0.17, 0.08)
    sockets += rng.uniform(0.02, 0.18) * (0.4 + age) * blob(0.3, 7.17, 0.13, 0.04)
    _tint(albedo, [0.6, 0.9, 0.8], np.minimum(sockets, 0.5))
    return albedo


def _paint_freckles(rng: np.random.Generator, albedo: np.ndarray, tone: float) -> None:
    """Freckles on some light skins, and a few moles, in place."""
    spots = []
    if tone < 3.5 and rng.random() < 0.25:
        count = int(rng.integers(40, 220))
        places = np.column_stack([rng.normal(0, 0.3, count), rng.normal(7.03, 0.13, count)])
        spots += [(place, 0.6, 0.25) for place in places]
    for _ in range(rng.poisson(1.5)):
        spots.append((np.array([rng.normal(0, 0.35), rng.uniform(6.3, 7.8)]), 1.0, 0.6))
    if not spots:
        return
    cover = np.zeros((HEIGHT, WIDTH), np.float32)
    for place, radius, strength in spots:
        u, v = texel_of(place[0], place[1])
        cv2.circle(cover, (int(u * 8), int(v * 8)), int(radius * 10), float(strength), -1, cv2.LINE_AA, 3)
    _tint(albedo, [0.4, 0.6, 0.7], cv2.GaussianBlur(cover, (0, 0), 0.7))


def _paint_lips(rng: np.random.Generator, albedo: np.ndarray, base: np.ndarray, maleness: float) -> None:
    if maleness < 0.5 and rng.random() < 0.4:
        colour, cover = linear(_LIPSTICKS[rng.integers(len(_LIPSTICKS))]), rng.uniform(0.45, 0.85)
    else:
        colour, cover = base * np.array([0.82, 0.52, 0.52]) * rng.uniform(0.88, 1.1), rng.uniform(0.6, 0.9)
    lips = atlas().lips
    fine = 1 + 0.06 * noise(rng, (128, 256), 0.9)
    _blend(albedo, colour, cover * lips * np.clip(fine, 0.8, 1.2))


@functools.cache
def _lash_line() -> np.ndarray:
    """Dark rims (H, W) where lashes grow: the upper lid's, and fainter the lower one's."""
    upper = crease([(0.2, 7.28), (0.26, 7.335), (0.32, 7.348), (0.38, 7.338), (0.445, 7.292)], 0.016)
    lower = crease([(0.22, 7.254), (0.265, 7.234), (0.32, 7.228), (0.375, 7.236), (0.437, 7.276)], 0.012)
    return np.maximum(upper, 0.4 * lower)


def _brows(rng: np.random.Generator, maleness: float) -> np.ndarray:
    """Brow hairs -> coverage (H, W): dense near the nose, thinning and flattening outwards."""
    count = int(rng.uniform(320, 700) * (0.85 + 0.3 * maleness))
    inner, outer = rng.uniform(0.1, 0.14), rng.uniform(0.47, 0.53)
    height, arch = rng.uniform(7.425, 7.46), rng.uniform(0.015, 0.06)
    thick = rng.uniform(0.6, 1.1) * (0.75 + 0.4 * maleness)
    t = rng.random(count)  # along the brow
    middle = height + arch * np.sin(np.pi * np.clip(1.1 * t - 0.1, 0, 1)) - 0.07 * np.clip(t - 0.65, 0, 1)
    across = rng.uniform(-1, 1, count)
    y = middle + across * 0.036 * thick * (1 - 0.7 * np.clip(t - 0.5, 0, 1) / 0.5) * np.minimum(
        1, 0.6 + 3 * t
    )
    x = inner + (outer - inner) * t
    angle = np.deg2rad(78 - 75 * np.clip(1.3 * t, 0, 1)) - 0.5 * np.clip(across, 0, 1) * t
    length = 0.036 * (1 - 0.3 * t) * rng.uniform(0.6, 1.2, count)
    tip_x, tip_y = x + length * np.cos(angle), y + length * np.sin(angle)
    lines = np.stack([np.stack([x, y], -1), np.stack([tip_x, tip_y], -1)], 1)  # (n, 2, 2)
    mirrored = lines * np.array([-1, 1])
    hairs = strokes(np.concatenate([lines, mirrored]), 1, 0.8)
    soft = 0.7 * hairs + 0.6 * cv2.GaussianBlur(hairs, (0, 0), 1.6)
    return np.clip(soft * rng.uniform(1.1, 1.7), 0, 0.92)


def _beard(rng: np.random.Generator) -> np.ndarray:
    """Stubble or a short beard (H, W): jaw, chin, upper lip and side burns, with a ragged edge."""
    layout = atlas()
    x, y = np.abs(layout.x), layout.y + 0.02 * noise(rng, (24, 48))
    edge = 6.66 + 0.55 * np.clip(x - 0.36, 0, 0.5)  # the upper border climbs to the ears
    jaw = _rise(0.08, -0.04, y - edge)
    mouth = np.exp(-(((x / 0.31) ** 2 + ((layout.y - 6.61) / 0.15) ** 2) ** 2))
    moustache = np.exp(-((x / 0.25) ** 4) - ((layout.y - 6.765) / 0.05) ** 4)
    not_neck = _rise(6.06, 6.2, layout.y)
    cover = np.clip(jaw * (1 - 0.92 * mouth) + moustache, 0, 1) * not_neck
    level = rng.choice([0.2, 0.4, 0.8], p=[0.5, 0.3, 0.2])
    grain = np.clip(0.8 + 0.3 * rng.standard_normal(cover.shape, np.float32), 0, 1.3)
    return cv2.GaussianBlur(cover.astype(np.float32), (0, 0), 4) * level * grain * (1 - layout.lips)


def _rise(low: float, high: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _relief(rng: np.random.Generator, age: float) -> np.ndarray:
    """Pores, and lines that age leaves where expressions crease the skin."""
    maps = wrinkle_maps()
    lines = {12: 0.5, 1: 0.25, 2: 0.25, 6: 0.3, 4: 0.12}
    aged = sum(
        share * rng.uniform(0.5, 1.2) * maps[RENDERED_AUS.index(number)] for number, share in lines.items()
    )
    pores = 0.0005 * rng.uniform(0.5, 1.2) * noise(rng, (96, 192, WIDTH // 2), 0.9)
    return (age**1.5 * aged + pores * (160 / TEXELS)).astype(np.float32)
