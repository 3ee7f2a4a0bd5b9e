"""What drawn shapes share: pools of shape variants, rounded outlines, and texture placing."""

import numpy as np
from numba import njit

from data_modules.occlusion.textures import POOL_SIZES
from data_modules.streams import Draws, keyed_generator

FAR = 50.0  # a field value that no object grows to


def pick_shape(draws: Draws, pool: str) -> int:
    """The number of one shape variant of a pool."""
    return draws.below(POOL_SIZES[pool])


def shape_generator(pool: str, kind: str, index: int) -> np.random.Generator:
    """What shape variant `index` of a pool is drawn from; pools share no variant."""
    return keyed_generator("shape", pool, kind, index)


@njit(cache=True, error_model="numpy")
def bell(x):
    """A bump of height 1 and the width of exp(-x²) that ends at |x| = 2; far cheaper than the exponential."""
    rest = max(1 - 0.25 * x * x, 0.0)
    square = rest * rest
    return square * square


@njit(cache=True, error_model="numpy")
def clip(x, low, high):
    return min(max(x, low), high)


@njit(cache=True, error_model="numpy")
def rounded(x, y, squareness):
    """How far an outline of half-size 1 must be scaled to reach (x, y).

    `squareness` 2 gives an ellipse, 0 a rounded square, values towards -1 bulge into the corners:
    (x⁴ + y⁴ + squareness·x²·y²)^¼, which is star-shaped for every value above -2.
    """
    xx, yy = x * x, y * y
    return np.sqrt(np.sqrt(xx * xx + yy * yy + squareness * xx * yy))


def placing(draws: Draws, scale: float, angle: float | None = None) -> np.ndarray:
    """A random place on a texture: (2, 3), crop to texture fractions; the crop spans `scale` tiles."""
    turn = draws.uniform(-0.15, 0.15) if angle is None else angle
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    return np.array([[cos, -sin, draws.uniform()], [sin, cos, draws.uniform()]])


def stripe_noise(rng: np.random.Generator, bumps: int, length: int = 384) -> np.ndarray:
    """Smooth noise (length,) in -1..1 with about `bumps` bumps."""
    knots = rng.uniform(-1, 1, bumps + 2)
    return np.interp(np.linspace(0, bumps + 1, length), np.arange(bumps + 2), knots)
