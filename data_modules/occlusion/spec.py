"""What an occlusion is: its kind, its severity, and the random stream its mask is drawn from. True = visible.

A mask's stream is keyed on (protocol seed, run seed and epoch while training, sample id, kind) and never on
worker, batch or order, so the same face gets the same mask everywhere. Severity is not part of the key: a
transform draws all it needs first and then cuts at the severity, which makes masks nested.
"""

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from data_modules.streams import Draws

PROTOCOL_VERSION = 1
LADDER = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9)
PROTOCOL_SEED, HELD_OUT_SEED = 0, -1


class OcclusionSpec(NamedTuple):
    """Hide `severity` (0-1, share of the crop's area) of a face by an occlusion of `kind`.

    `seed` 0 is the protocol's own stream, the one every evaluation uses; training uses seeds from 1 on, and
    `HELD_OUT_SEED` draws textures and shapes that neither of them holds.
    """

    kind: str
    severity: float
    seed: int = 0


def draws(spec: OcclusionSpec, sample_id: int) -> Draws:
    """The random stream of this face's mask: the same on every machine, worker and rank."""
    return Draws(f"occlusion{PROTOCOL_VERSION}", spec.seed, sample_id, spec.kind)


def training_seed(run_seed: int, epoch: int) -> int:
    """A seed for `OcclusionSpec` that differs by run and epoch and is never the protocol's 0."""
    return 1 + run_seed * 1_000_003 + epoch


def pool_of(seed: int) -> str:
    """Whose textures and shapes a seed draws from: "train", "test" or "held-out"; they share nothing."""
    return {PROTOCOL_SEED: "test", HELD_OUT_SEED: "held-out"}.get(seed, "train")


def token_visibility(pixels: np.ndarray, grid: int) -> np.ndarray:
    """Pixel mask (H, W) bool, True = visible -> token mask (grid·grid,) bool, True = visible.

    A token is visible when at most half of its area is hidden. Sides that the grid does not
    divide are cut at the nearest pixel.
    """
    rows, cols = cell_bounds(pixels.shape[0], grid), cell_bounds(pixels.shape[1], grid)
    # Pixels above and to the left of every corner of the grid, (g + 1, g + 1).
    sums = cv2.integral(np.ascontiguousarray(pixels, np.uint8))[rows].take(cols, 1)
    sums = sums[1:] - sums[:-1]
    seen = sums[:, 1:] - sums[:, :-1]
    area = (rows[1:] - rows[:-1])[:, None] * (cols[1:] - cols[:-1])
    return (2 * seen >= area).reshape(-1)


@lru_cache(maxsize=64)
def cell_bounds(length: int, grid: int) -> np.ndarray:
    """Where the grid cuts a side of `length` pixels: (grid + 1,) pixels from 0 to `length`; read-only."""
    bounds = np.linspace(0, length, grid + 1).round().astype(int)
    bounds.flags.writeable = False
    return bounds
