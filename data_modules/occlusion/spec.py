"""What an occlusion is: its kind, its severity, and the random stream its mask is drawn from. True = visible.

A mask's stream is keyed on (protocol seed, run seed and epoch while training, sample id, kind) and never on
worker, batch or order, so the same face gets the same mask everywhere. Severity is not part of the key: a
transform draws all it needs first and then cuts at the severity, which makes masks nested.
"""

import hashlib
from typing import NamedTuple

import numpy as np

PROTOCOL_VERSION = 1
LADDER = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9)


class OcclusionSpec(NamedTuple):
    """Hide `severity` (0-1, share of the crop's area) of a face by an occlusion of `kind`.

    `seed` 0 is the protocol's own stream, the one every evaluation uses; training uses others.
    """

    kind: str
    severity: float
    seed: int = 0


def stream(spec: OcclusionSpec, sample_id: int) -> np.random.Generator:
    """The random generator of this face's mask: the same on every machine, worker and rank."""
    key = f"occlusion{PROTOCOL_VERSION}/{spec.seed}/{sample_id}/{spec.kind}".encode()
    return np.random.Generator(
        np.random.Philox(key=int.from_bytes(hashlib.blake2b(key, digest_size=16).digest(), "big"))
    )


def training_seed(run_seed: int, epoch: int) -> int:
    """A seed for `OcclusionSpec` that differs by run and epoch and is never the protocol's 0."""
    return 1 + run_seed * 1_000_003 + epoch


def token_visibility(pixels: np.ndarray, grid: int, threshold: float = 0.5) -> np.ndarray:
    """Pixel mask (H, W) bool, True = visible -> token mask (grid·grid,) bool, True = visible.

    A token is visible when the hidden share of its area is at most `threshold`. Sides that the grid does not
    divide are cut at the nearest pixel.
    """
    height, width = pixels.shape
    rows = np.linspace(0, height, grid + 1).round().astype(int)
    cols = np.linspace(0, width, grid + 1).round().astype(int)
    hidden = np.add.reduceat(np.add.reduceat((~pixels).astype(np.int64), rows[:-1], 0), cols[:-1], 1)
    area = np.diff(rows)[:, None] * np.diff(cols)[None]
    return (hidden <= threshold * area).reshape(-1)
