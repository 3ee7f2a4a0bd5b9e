"""Textures of the drawn occlusions: seamless tiles, painted by rule, in three pools that share no tile.

A tile is known by (pool, material, index) and painted from a random stream keyed on that, so it is the same
everywhere. The held-out pool also has patterns of its own for cloth and noise: what a detector learnt from
the train pool's cloth is no help there.
"""

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from data_modules.streams import Draws, keyed_generator

TILE = 256  # pixels per side
POOL_SIZES = {"train": 48, "test": 24, "held-out": 24}  # tiles per material
CLOTH = {
    "train": ("twill", "plaid", "stripes"),
    "test": ("twill", "plaid", "stripes"),
    "held-out": ("knit", "dots"),
}
NOISE = {"train": ("cloud", "grain"), "test": ("cloud", "grain"), "held-out": ("cells",)}


class Tile(NamedTuple):
    """A seamless piece of a material; treat it as read-only."""

    pixels: np.ndarray  # (TILE, TILE, 3) uint8 RGB
    mean: tuple[float, float, float]  # colour, 0-255

    def rim(self, factor: float) -> tuple[float, float, float]:
        """The mean colour times `factor`: what rims are drawn with."""
        red, green, blue = self.mean
        return red * factor, green * factor, blue * factor


def pick_tile(draws: Draws, pool: str, material: str) -> Tile:
    """One tile of a material; `material` is a key of `MATERIALS`."""
    return tile(pool, material, draws.below(POOL_SIZES[pool]))


@lru_cache(maxsize=512)
def tile(pool: str, material: str, index: int) -> Tile:
    """Tile `index` of a pool; painted on first use, then kept."""
    rng = keyed_generator("texture", pool, material, index)
    colour = MATERIALS[material](rng, pool)  # (TILE, TILE, 3) float, 0-1
    painted = np.round(np.clip(colour, 0, 1) * 255).astype(np.uint8)
    painted.flags.writeable = False
    red, green, blue = cv2.mean(painted)[:3]
    return Tile(painted, (red, green, blue))


def _skin(rng: np.random.Generator, pool: str) -> np.ndarray:
    """Skin from very dark to very light, with red blotches and fine grain."""
    depth = rng.random()
    light, dark = np.array([0.96, 0.80, 0.70]), np.array([0.24, 0.15, 0.11])
    tone = light ** (1 - depth) * dark**depth * (1 + 0.025 * rng.standard_normal(3))
    blotch, grain = _fractal(rng, 1.6, 3), _fractal(rng, 0.7, 20)
    redness = np.array([0.01, -0.012, -0.01])
    return tone * (1 + 0.035 * grain[..., None] + blotch[..., None] * redness)


def _cloth(rng: np.random.Generator, pool: str) -> np.ndarray:
    """Woven or printed cloth; the pattern depends on the pool."""
    return _PATTERNS[CLOTH[pool][int(rng.integers(len(CLOTH[pool])))]](rng)


def _noise(rng: np.random.Generator, pool: str) -> np.ndarray:
    """Colour noise at some scale; the kind of noise depends on the pool."""
    return _PATTERNS[NOISE[pool][int(rng.integers(len(NOISE[pool])))]](rng)


def _fleece(rng: np.random.Generator, pool: str) -> np.ndarray:
    """The pressed fleece of a medical mask: pale, with a fine emboss."""
    colours = np.array(
        [[0.62, 0.80, 0.90], [0.95, 0.96, 0.97], [0.66, 0.84, 0.78], [0.15, 0.16, 0.18], [0.93, 0.76, 0.80]]
    )
    base = colours[int(rng.integers(len(colours)))] * (1 + 0.04 * rng.standard_normal(3))
    x, y = _axes()
    emboss = np.maximum(np.sin(x * 64) * np.sin(y * 64), 0)
    return base * (1 - 0.05 * emboss + 0.02 * _fractal(rng, 0.5, 10))[..., None]


def _plastic(rng: np.random.Generator, pool: str) -> np.ndarray:
    """Tinted, nearly plain: lenses and grips."""
    base = _colour(rng, (0.2, 0.7), (0.06, 0.22))
    return base * (1 + 0.06 * _fractal(rng, 2.0, 2))[..., None]


def _mesh(rng: np.random.Generator, pool: str) -> np.ndarray:
    """The steel basket or foam of a microphone."""
    x, y = _axes()
    base = _colour(rng, (0.0, 0.15), (0.25, 0.6))
    wire = np.abs(np.sin((x + y) * 24)) * np.abs(np.sin((x - y) * 24))
    return base * (0.55 + 0.6 * wire + 0.05 * _fractal(rng, 0.5, 20))[..., None]


def _ceramic(rng: np.random.Generator, pool: str) -> np.ndarray:
    """A glazed mug or paper cup with a printed band."""
    base, print_colour = _colour(rng, (0.0, 0.6), (0.6, 0.95)), _colour(rng, (0.3, 0.9), (0.2, 0.8))
    x, y = _axes()
    period = int(rng.integers(2, 7))
    motif = np.sin(x * period + 2 * rng.random()) + np.sin(y * int(rng.integers(1, 5)) + 6 * rng.random())
    ink = np.clip((motif - rng.uniform(0.2, 1.2)) * 12, 0, 1)[..., None]
    return (base * (1 - ink) + print_colour * ink) * (1 + 0.015 * _fractal(rng, 1.0, 4))[..., None]


def _hair(rng: np.random.Generator, pool: str) -> np.ndarray:
    """Hair colour from black over brown, red and blond to grey; strands are shaded by the drawing."""
    depth = rng.random()
    natural = np.array([0.95, 0.75, 0.5]) ** (1 - depth) * np.array([0.07, 0.05, 0.045]) ** depth
    grey = rng.random() < 0.15
    base = np.full(3, natural.mean() + 0.2) if grey else natural * (1 + 0.03 * rng.standard_normal(3))
    return base * (1 + 0.05 * _fractal(rng, 0.8, 6))[..., None]


MATERIALS = {
    "skin": _skin,
    "cloth": _cloth,
    "noise": _noise,
    "fleece": _fleece,
    "plastic": _plastic,
    "mesh": _mesh,
    "ceramic": _ceramic,
    "hair": _hair,
}


def _twill(rng: np.random.Generator) -> np.ndarray:
    x, y = _axes()
    rib = np.sin((x + y * int(rng.choice([-1, 1, 2]))) * int(rng.integers(20, 45)))
    shade = 1 + 0.12 * rib + 0.08 * _fractal(rng, 0.8, 8)
    return _colour(rng, (0.2, 0.8), (0.2, 0.8)) * shade[..., None]


def _plaid(rng: np.random.Generator) -> np.ndarray:
    x, y = _axes()
    ground, band, line = (_colour(rng, (0.1, 0.9), (0.15, 0.9)) for _ in range(3))
    count = int(rng.integers(2, 6))
    width, fine = rng.uniform(-0.3, 0.5), int(rng.integers(2, 4))
    bands = ((np.sin(x * count) > width) * 0.5 + (np.sin(y * count) > width) * 0.5)[..., None]
    lines = (np.maximum(np.sin(x * count * fine), np.sin(y * count * fine)) > 0.96)[..., None]
    weave = 1 + 0.06 * (np.sin(x * 60) * np.sin(y * 60))[..., None]
    return np.where(lines, line, ground * (1 - bands) + band * bands) * weave


def _stripes(rng: np.random.Generator) -> np.ndarray:
    x, y = _axes()
    first, second = (_colour(rng, (0.0, 0.9), (0.15, 0.95)) for _ in range(2))
    slope = (int(rng.integers(0, 3)), int(rng.integers(1, 3)))
    mix = np.clip(np.sin((x * slope[0] + y * slope[1]) * int(rng.integers(2, 8))) * 6 + 0.5, 0, 1)[..., None]
    return (first * mix + second * (1 - mix)) * (1 + 0.05 * _fractal(rng, 0.6, 10))[..., None]


def _knit(rng: np.random.Generator) -> np.ndarray:
    x, y = _axes()
    count = int(rng.integers(10, 22))
    stitch = np.abs(np.sin(x * count + 0.9 * np.abs(np.sin(y * count)))) ** 0.7
    return (
        _colour(rng, (0.1, 0.8), (0.3, 0.9)) * (0.6 + 0.5 * stitch + 0.04 * _fractal(rng, 0.5, 20))[..., None]
    )


def _dots(rng: np.random.Generator) -> np.ndarray:
    x, y = _axes()
    ground, spot = (_colour(rng, (0.0, 0.9), (0.15, 0.95)) for _ in range(2))
    count = int(rng.integers(3, 9))
    mix = np.clip((np.cos(x * count) + np.cos(y * count) - rng.uniform(0.3, 1.2)) * 5, 0, 1)[..., None]
    return ground * (1 - mix) + spot * mix


def _cloud(rng: np.random.Generator) -> np.ndarray:
    exponent = rng.uniform(1.0, 2.0)
    layers = np.stack([_fractal(rng, exponent, 1) for _ in range(3)], -1)
    return _colour(rng, (0.0, 0.8), (0.3, 0.8)) + layers * rng.uniform(0.08, 0.25)


def _grain(rng: np.random.Generator) -> np.ndarray:
    return _colour(rng, (0.0, 0.8), (0.3, 0.8)) + 0.2 * rng.standard_normal((TILE, TILE, 3))


def _cells(rng: np.random.Generator) -> np.ndarray:
    """Flat patches around random seeds, each of its own colour."""
    seeds = rng.integers(0, TILE, (int(rng.integers(20, 90)), 2))
    colours = np.stack([_colour(rng, (0.0, 0.9), (0.1, 0.95)) for _ in seeds])
    steps = np.arange(TILE)
    nearest, owner = np.full((TILE, TILE), np.inf), np.zeros((TILE, TILE), int)
    for number, (row, col) in enumerate(seeds):
        dy = np.minimum(np.abs(steps - row), TILE - np.abs(steps - row))[:, None]
        dx = np.minimum(np.abs(steps - col), TILE - np.abs(steps - col))[None]
        distance = dy * dy + dx * dx
        closer = distance < nearest
        nearest[closer], owner[closer] = distance[closer], number
    return colours[owner]


_PATTERNS = {
    "twill": _twill,
    "plaid": _plaid,
    "stripes": _stripes,
    "knit": _knit,
    "dots": _dots,
    "cloud": _cloud,
    "grain": _grain,
    "cells": _cells,
}


def _axes() -> tuple[np.ndarray, np.ndarray]:
    """Angles 0-2π over the tile, (1, TILE) and (TILE, 1): sines of whole multiples are seamless."""
    angle = np.arange(TILE) * (2 * np.pi / TILE)
    return angle[None], angle[:, None]


def _fractal(rng: np.random.Generator, exponent: float, lowest: float) -> np.ndarray:
    """Seamless noise (TILE, TILE), spectrum 1/f^exponent from `lowest` cycles per tile up, unit deviation."""
    spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE)))
    frequency = np.hypot(np.fft.fftfreq(TILE, 1 / TILE)[:, None], np.fft.rfftfreq(TILE, 1 / TILE)[None])
    spectrum *= np.where(frequency < lowest, 0, np.maximum(frequency, 1) ** -exponent)
    noise = np.fft.irfft2(spectrum, (TILE, TILE))
    return noise / noise.std()


def _colour(
    rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]
) -> np.ndarray:
    """A random colour, (3,) RGB 0-1."""
    hsv = np.array([[[rng.uniform(0, 360), rng.uniform(*saturation), rng.uniform(*value)]]], np.float32)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float64)
