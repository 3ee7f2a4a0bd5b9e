"""Which action units a synthetic face shows: a latent Gaussian copula with documented marginals and
correlations.

One standard normal per AU, correlated; the AU is present when its latent exceeds the quantile that gives the
marginal, and the rank of the latent above it sets the intensity. Intensity runs 0-5 along the FACS letters:
1 = A (trace), 2 = B (slight), 3 = C (marked), 4 = D (severe), 5 = E (maximum). Absent AUs are at 0 exactly.

The styles imitate how often AUs occur and occur together in BP4D and DISFA, as published; they are no copy
of either, and AUs that a set does not code (5, 9, 20, 25, 26 for BP4D) get rates that leave enough of them
to learn from.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np

from data_modules.errors import UserError
from data_modules.facs import AUS

RENDERED_AUS = tuple(AUS)  # the 22 AUs the renderer drives
PRESENCE_THRESHOLD = 1.0  # an AU counts as present from this intensity on
_WEAKEST, _STRONGEST = 1.5, 5.0  # intensity of a present AU
_NUISANCE = {16: 0.02, 18: 0.02, 22: 0.015, 27: 0.01, 43: 0.03}  # in the pictures, not in the default labels

_PAIRS = {
    (1, 2): 0.70, (1, 4): 0.15, (1, 5): 0.35, (2, 5): 0.40, (4, 7): 0.45, (4, 9): 0.40, (4, 12): -0.20,
    (6, 7): 0.55, (6, 10): 0.50, (6, 12): 0.75, (7, 10): 0.50, (7, 12): 0.40, (9, 10): 0.35, (10, 12): 0.55,
    (10, 25): 0.25, (12, 14): 0.20, (12, 15): -0.45, (12, 17): -0.40, (6, 15): -0.25, (6, 17): -0.20,
    (12, 25): 0.25,
    (10, 15): -0.20, (14, 17): 0.15, (15, 17): 0.50, (17, 23): 0.35, (17, 24): 0.50, (17, 25): -0.35,
    (20, 25): 0.15, (23, 24): 0.35, (23, 25): -0.40, (24, 25): -0.75, (24, 26): -0.45, (25, 26): 0.70,
    (25, 27): 0.60, (26, 27): 0.50, (22, 25): 0.40, (16, 25): 0.45, (24, 27): -0.45, (22, 24): -0.40,
    (16, 24): -0.40,
    (5, 7): -0.25, (5, 43): -0.60, (12, 20): -0.20, (12, 18): -0.20, (18, 20): -0.40, (18, 22): 0.30,
    (18, 24): -0.20,
}  # fmt: skip


@dataclass(frozen=True)
class Style:
    """Marginals (probability that an AU is present) and latent correlations, in the order of
    `RENDERED_AUS`."""

    name: str
    marginals: np.ndarray  # (A,)
    correlations: np.ndarray  # (A, A), positive definite

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Intensities (count, A) float32 in 0-5."""
        return self.intensities(self.latents(rng, count))

    def latents(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Correlated standard normals (count, A)."""
        return rng.standard_normal((count, len(self.marginals))) @ np.linalg.cholesky(self.correlations).T

    def intensities(self, latents: np.ndarray) -> np.ndarray:
        """Latents (..., A) -> intensities (..., A): 0 below the threshold, `_WEAKEST` to `_STRONGEST` above
        it."""
        rank = _normal_cdf(latents)
        # 0 at the threshold, 1 at the top
        above = (rank - (1 - self.marginals)) / np.maximum(self.marginals, 1e-9)
        strength = _WEAKEST + (_STRONGEST - _WEAKEST) * np.clip(above, 0, 1) ** 0.8
        return np.where(above > 0, strength, 0.0).astype(np.float32)


def _normal_cdf(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


_MARGINALS = {
    "bp4d": {
        1: 0.21, 2: 0.17, 4: 0.20, 5: 0.12, 6: 0.46, 7: 0.55, 9: 0.12, 10: 0.59, 12: 0.56, 14: 0.47, 15: 0.17,
        17: 0.34, 20: 0.12, 23: 0.17, 24: 0.15, 25: 0.40, 26: 0.22,
    },
    "disfa": {
        1: 0.07, 2: 0.06, 4: 0.19, 5: 0.03, 6: 0.15, 7: 0.10, 9: 0.055, 10: 0.05, 12: 0.24, 14: 0.05,
        15: 0.06, 17: 0.10, 20: 0.035, 23: 0.04, 24: 0.04, 25: 0.28, 26: 0.19,
    },
    "balanced": dict.fromkeys((1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 24, 25, 26), 0.25),
}  # fmt: skip
_PAIR_STRENGTH = {"bp4d": 1.0, "disfa": 0.85, "balanced": 0.4}
STYLES = tuple(_MARGINALS)


@functools.cache
def named_style(name: str) -> Style:
    """The style "bp4d", "disfa" or "balanced"; raises `UserError` for another name."""
    if name not in _MARGINALS:
        raise UserError(f"unknown style {name!r} of synthetic faces; choose one of {', '.join(STYLES)}")
    rates = {**_NUISANCE, **_MARGINALS[name]}
    marginals = np.array([rates[number] for number in RENDERED_AUS])
    correlations = np.eye(len(RENDERED_AUS))
    for (a, b), value in _PAIRS.items():
        i, j = RENDERED_AUS.index(a), RENDERED_AUS.index(b)
        correlations[i, j] = correlations[j, i] = value * _PAIR_STRENGTH[name]
    return Style(name, marginals, _nearest_correlation(correlations))


def _nearest_correlation(matrix: np.ndarray, smallest: float = 0.02) -> np.ndarray:
    """The nearest correlation matrix with eigenvalues from `smallest` on (alternating projections, Higham
    2002)."""
    estimate, correction = matrix.copy(), np.zeros_like(matrix)
    for _ in range(200):
        values, vectors = np.linalg.eigh(estimate - correction)
        projected = (vectors * np.maximum(values, smallest)) @ vectors.T
        correction = projected - (estimate - correction)
        estimate = projected.copy()
        np.fill_diagonal(estimate, 1.0)
    scale = 1 / np.sqrt(np.diag(projected))
    return projected * np.outer(scale, scale)


def resolve_conflicts(intensity: np.ndarray) -> tuple[np.ndarray, bool]:
    """Make one draw (A,) physically possible; returns it and whether the lips part.

    AU27 replaces AU26 (a wider form of it), closed eyes (43) hide a raised lid (5), pressed lips (24) stay
    shut, and jaw stretch, funnel and lower-lip depressor (27, 22, 16) part the lips. Opposed latents make
    all of this rare.
    """
    drawn = dict(zip(RENDERED_AUS, intensity.tolist()))
    if drawn[27]:
        drawn[26] = drawn[24] = 0.0
    if drawn[43]:
        drawn[5] = 0.0
    if drawn[24]:
        drawn[22] = drawn[16] = 0.0
    parting = max(drawn[25], drawn[27], drawn[22], drawn[16]) > 0 and not drawn[24]
    drawn[25] = max(drawn[25], _WEAKEST) if parting else 0.0
    return np.array([drawn[number] for number in RENDERED_AUS], np.float32), parting


# How often an AU is weaker on one side; 0.08 for the others.
_ONE_SIDED = {14: 0.35, 12: 0.15, 10: 0.15, 2: 0.15}


def split_sides(rng: np.random.Generator, intensity: np.ndarray) -> np.ndarray:
    """Intensities (A,) -> strengths (A, 2) in 0-1 of the subject's left and right; the stronger side is the
    label."""
    strength = np.repeat(intensity[:, None] / 5, 2, axis=1)
    rates = np.array([_ONE_SIDED.get(number, 0.08) for number in RENDERED_AUS])
    uneven = rng.random(len(intensity)) < rates
    weaker = rng.integers(0, 2, len(intensity))
    share = rng.uniform(0.2, 0.85, len(intensity))
    rows = np.flatnonzero(uneven)
    strength[rows, weaker[rows]] *= share[rows]
    return strength.astype(np.float32)
