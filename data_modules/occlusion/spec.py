"""What an occlusion is: its kind, its severity, and the random stream its mask is drawn from. True = visible.

A mask's stream is keyed on (protocol seed, run seed and epoch while training, sample id, kind) and never on
worker, batch or order, so the same face gets the same mask everywhere. Severity is not part of the key: a
transform draws all it needs first and then cuts at the severity, which makes masks nested.
"""

import hashlib
from functools import lru_cache
from typing import NamedTuple

import numpy as np

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


class Draws:
    """A stream of random numbers in [0, 1) that follows from a key alone.

    It is read off SHAKE-128, so it is the same on every machine and with every version of every library;
    NumPy's generators promise the first but not the second.
    """

    def __init__(self, *key: object):
        self._key, self._calls = "/".join(map(str, key)), 0
        self._ready: list[float] = []

    def uniforms(self, count: int) -> np.ndarray:
        """The next `count` numbers, (count,) float64 in [0, 1)."""
        self._calls += 1
        digest = hashlib.shake_128(f"{self._key}/{self._calls}".encode()).digest(4 * count)
        return np.frombuffer(digest, "<u4") * 2.0**-32

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        if not self._ready:
            self._ready = self.uniforms(16).tolist()
        return low + (high - low) * self._ready.pop()

    def below(self, count: int) -> int:
        """A whole number from 0 to count - 1."""
        return int(self.uniform() * count)

    def order(self, count: int) -> np.ndarray:
        """The numbers 0 to count - 1 shuffled, (count,) int64."""
        return self.uniforms(count).argsort(kind="stable")


def draws(spec: OcclusionSpec, sample_id: int) -> Draws:
    """The random stream of this face's mask: the same on every machine, worker and rank."""
    return Draws(f"occlusion{PROTOCOL_VERSION}", spec.seed, sample_id, spec.kind)


def training_seed(run_seed: int, epoch: int) -> int:
    """A seed for `OcclusionSpec` that differs by run and epoch and is never the protocol's 0."""
    return 1 + run_seed * 1_000_003 + epoch


def pool_of(seed: int) -> str:
    """Whose textures and shapes a seed draws from: "train", "test" or "held-out"; they share nothing."""
    return {PROTOCOL_SEED: "test", HELD_OUT_SEED: "held-out"}.get(seed, "train")


def keyed_generator(*key: object) -> np.random.Generator:
    """A NumPy generator that depends on `key` alone, for all that is no mask of the protocol (see `Draws`)."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "big")))


def token_visibility(pixels: np.ndarray, grid: int, threshold: float = 0.5) -> np.ndarray:
    """Pixel mask (H, W) bool, True = visible -> token mask (grid·grid,) bool, True = visible.

    A token is visible when the hidden share of its area is at most `threshold`. Sides that the grid does not
    divide are cut at the nearest pixel.
    """
    height, width = pixels.shape
    rows, cols = cell_bounds(height, grid), cell_bounds(width, grid)
    seen = np.add.reduceat(
        np.add.reduceat(pixels, rows[:-1], 0, np.int32), cols[:-1], 1
    )  # (g, g) visible pixels
    area = np.diff(rows)[:, None] * np.diff(cols)[None]
    return (area - seen <= threshold * area).reshape(-1)


@lru_cache(maxsize=64)
def cell_bounds(length: int, grid: int) -> np.ndarray:
    """Where the grid cuts a side of `length` pixels: (grid + 1,) pixels from 0 to `length`; read-only."""
    bounds = np.linspace(0, length, grid + 1).round().astype(int)
    bounds.flags.writeable = False
    return bounds
