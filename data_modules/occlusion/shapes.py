"""What drawn shapes share: pools of shape variants, rounded outlines, and texture placing."""

import numpy as np

from data_modules.occlusion.spec import keyed_generator
from data_modules.occlusion.textures import POOL_SIZES

FAR = 50.0  # a field value that no object grows to
STEEP = 10.0  # how fast a field rises across a side that should hardly move while the object grows


def pick_shape(rng: np.random.Generator, pool: str, kind: str) -> np.random.Generator:
    """The stream that one shape variant of a pool is drawn from; pools share no variant."""
    return keyed_generator("shape", pool, kind, int(rng.integers(POOL_SIZES[pool])))


def bell(x: np.ndarray) -> np.ndarray:
    """A bump of height 1 and the width of exp(-x²) that ends at |x| = 2; far cheaper than the exponential."""
    rest = np.maximum(1 - 0.25 * x * x, 0)
    square = rest * rest
    return square * square


def rounded(x: np.ndarray, y: np.ndarray, squareness: float) -> np.ndarray:
    """How far an outline of half-size 1 must be scaled to reach (x, y).

    `squareness` 2 gives an ellipse, 0 a rounded square, values towards -1 bulge into the corners:
    (x⁴ + y⁴ + squareness·x²·y²)^¼, which is star-shaped for every value above -2.
    """
    xx, yy = x * x, y * y
    return np.sqrt(np.sqrt(xx * xx + yy * yy + squareness * xx * yy))


def placing(rng: np.random.Generator, scale: float, angle: float | None = None) -> np.ndarray:
    """A random place on a texture: (2, 3), crop to texture fractions; the crop spans `scale` tiles."""
    turn = rng.uniform(-0.15, 0.15) if angle is None else angle
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    shift = rng.random(2)
    return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])


def stripe_noise(rng: np.random.Generator, bumps: int, length: int = 384) -> np.ndarray:
    """Smooth noise (length,) in -1..1 with about `bumps` bumps."""
    knots = rng.uniform(-1, 1, bumps + 2)
    return np.interp(np.linspace(0, bumps + 1, length), np.arange(bumps + 2), knots)


def blob_outline(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How far a random star-shaped blob of mean radius 1 must be scaled to reach (x, y).

    The outline is a short Fourier series of the angle, summed by the recurrence of the cosines.
    """
    radius = np.sqrt(x * x + y * y) + 1e-9
    cos, sin = x / radius, y / radius
    amplitudes = rng.normal(0, 1, (5, 2)) * np.array([0.16, 0.14, 0.1, 0.06, 0.04])[:, None]
    outline, cos_k, sin_k = np.ones_like(radius), np.ones_like(radius), np.zeros_like(radius)
    for a, b in amplitudes:
        cos_k, sin_k = cos_k * cos - sin_k * sin, sin_k * cos + cos_k * sin
        outline += a * cos_k + b * sin_k
    return radius / np.maximum(outline, 0.25)
