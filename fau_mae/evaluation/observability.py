"""Which AUs of a half-covered face one may believe: decision thresholds and observability, from validation people.

An AU of which half of the region or more is hidden is *not observable*: whatever the model says of it is a guess. Of
the others, observability is the chance that the decision is right, from a logistic regression per AU on how far the
logit is from its threshold and on how much of the region, and of the face, is visible. What is hidden is what the
detector says, as it will be when pictures are read.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit

from data_modules.face_data import CLEAN, FaceDataModule
from data_modules.facs import Rectangle
from data_modules.occlusion.spec import OcclusionSpec
from fau_mae import metrics
from fau_mae.evaluation.regions import HIDDEN_FROM, region_hidden_share

Floats = NDArray[np.float64]
SHARES = (0.0, 0.25, 0.5, 0.75)  # hidden shares of a face at which thresholds are chosen
CASES = [CLEAN] + [
    *(OcclusionSpec(kind, share) for kind in ("patches", "block") for share in (0.25, 0.5, 0.75)),
    *(OcclusionSpec(kind, 0.5) for kind in ("sunglasses", "mask", "hand", "hair", "texture")),
]
COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
FARTHEST = 6.0  # logits from the threshold; beyond it no decision gets surer
ROUNDING = 1e-6  # of a share: halves of a region are common, and sums of shares end a little above or below
_RIDGE = 1.0  # keeps an AU that was never decided wrongly finite

# Pictures uint8 (B, 3, H, W) -> AU probabilities (B, A) and the estimated mask (B, N), True = visible
Read = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


class Cases(NamedTuple):
    """Faces as the models read them: C faces, A AUs, N tokens."""

    probabilities: Floats  # (C, A)
    labels: NDArray[np.int8]  # (C, A) 1 / 0 / -1 unknown
    visible: NDArray[np.bool_]  # (C, N) as estimated, True = visible


@dataclass(frozen=True)
class Decisions:
    """How probabilities become decisions, and how far these are to be believed.

    Args:
        thresholds: of each hidden share of `SHARES`, one per AU: (H, A).
        weights: of the regression, per AU those of its five terms: (A, 5).
    """

    thresholds: tuple[tuple[float, ...], ...]
    weights: tuple[tuple[float, ...], ...]

    def present(self, probabilities: Floats, visible: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(B, A) whether each AU is decided to be there; `visible` (B, N), True = visible."""
        return probabilities >= self._thresholds(visible)

    def observable(
        self, probabilities: Floats, visible: NDArray[np.bool_], regions: Sequence[Rectangle]
    ) -> Floats:
        """(B, A) chance that `present` is right; 0 where at least half of the AU's region is hidden."""
        terms = _terms(probabilities, self._thresholds(visible), visible, regions)
        chance = expit((terms * np.array(self.weights)).sum(-1))
        return np.where(not_observable(visible, regions), 0.0, chance)

    def _thresholds(self, visible: NDArray[np.bool_]) -> Floats:
        return np.array(self.thresholds)[_nearest(visible)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], aus: int) -> "Decisions":
        """The inverse of `to_dict`. Raises `ValueError` for what is none for this many AUs."""
        thresholds, weights = np.array(plain["thresholds"], float), np.array(plain["weights"], float)
        if thresholds.shape != (len(SHARES), aus) or weights.shape != (aus, 5):
            raise ValueError(f"decisions for {thresholds.shape[-1]} AUs, not {aus}")
        return cls(tuple(map(tuple, thresholds.tolist())), tuple(map(tuple, weights.tolist())))


def not_observable(visible: NDArray[np.bool_], regions: Sequence[Rectangle]) -> NDArray[np.bool_]:
    """(B, A) where at least half of an AU's region is hidden; `visible` (B, N), True = visible."""
    return region_hidden_share(visible, regions) >= HIDDEN_FROM - ROUNDING


@torch.inference_mode()
def read_cases(
    read: Read,
    data: FaceDataModule,
    split: str,
    watch: Callable[[Sequence[OcclusionSpec]], Iterator[OcclusionSpec]] = iter,
) -> Cases:
    """The faces of a split under each occlusion of `CASES`, as `read` reads them."""
    parts = []
    faces = data.dataset(False, room=1 << 28)
    for spec in watch(CASES):
        for batch in data.ladder_dataloader(split, spec, faces):
            probabilities, visible = read(batch.image)
            parts.append((probabilities.double().numpy(), batch.labels.numpy(), visible.cpu().numpy()))
    return Cases(*(np.concatenate(column) for column in zip(*parts)))


def fit_decisions(cases: Cases, regions: Sequence[Rectangle]) -> Decisions:
    """Thresholds of the highest F1 at each hidden share, then the chance of a right decision, per AU."""
    nearest = _nearest(cases.visible)
    over_all = metrics.best_thresholds(metrics.rankings(cases.probabilities, cases.labels))
    thresholds = np.stack([_best(cases, nearest == step, over_all) for step in range(len(SHARES))])  # (H, A)
    chosen = thresholds[nearest]
    right = (cases.probabilities >= chosen) == (cases.labels == 1)
    usable = (cases.labels >= 0) & ~not_observable(cases.visible, regions)
    terms = _terms(cases.probabilities, chosen, cases.visible, regions)
    weights = [_regression(terms[usable[:, au], au], right[usable[:, au], au]) for au in range(len(regions))]
    plain = {"thresholds": thresholds.tolist(), "weights": np.stack(weights).tolist()}
    return Decisions.from_dict(plain, len(regions))


def _best(cases: Cases, chosen: NDArray[np.bool_], otherwise: Floats) -> Floats:
    """(A,) best thresholds of the faces `chosen`; those of all faces for an AU that no such face shows."""
    labels = cases.labels[chosen]
    shown = (labels == 1).any(0) & (labels == 0).any(0)
    found = otherwise.copy()
    if shown.any():
        ranked = metrics.rankings(cases.probabilities[chosen][:, shown], labels[:, shown])
        found[shown] = metrics.best_thresholds(ranked)
    return found


def calibration(decisions: Decisions, cases: Cases, regions: Sequence[Rectangle]) -> pd.DataFrame:
    """How observability holds on other people: one row per least observability asked for.

    Columns: from, called (share of all decisions that are called at least so observable), observability (their mean),
    right (share of them that is).
    """
    known = cases.labels >= 0
    said = decisions.observable(cases.probabilities, cases.visible, regions)[known]
    right = (decisions.present(cases.probabilities, cases.visible) == (cases.labels == 1))[known]
    rows = []
    for least in COVERAGES:
        chosen = said >= least
        rows.append([least, chosen.mean(), said[chosen].mean(), right[chosen].mean()])
    return pd.DataFrame(rows, columns=["from", "called", "observability", "right"])


def risk_coverage(decisions: Decisions, cases: Cases, regions: Sequence[Rectangle]) -> pd.DataFrame:
    """Per AU, the share of wrong decisions among its surest half, four fifths and all of its observable ones.

    Columns: au, observable (share of its decisions), .5, .8, 1.
    """
    said = decisions.observable(cases.probabilities, cases.visible, regions)
    wrong = decisions.present(cases.probabilities, cases.visible) != (cases.labels == 1)
    rows = []
    for au in range(len(regions)):
        known = cases.labels[:, au] >= 0
        sure = known & (said[:, au] > 0)
        risks = wrong[sure, au][np.argsort(-said[sure, au], kind="stable")]
        shares = [risks[: max(1, round(share * len(risks)))].mean() for share in (0.5, 0.8, 1.0)]
        rows.append([au, sure.sum() / max(known.sum(), 1), *shares])
    return pd.DataFrame(rows, columns=["au", "observable", "0.5", "0.8", "1"])


def region_weights(regions: Sequence[Rectangle], grid: int) -> Floats:
    """(A, N) share of each AU's region that lies in each token."""
    return region_hidden_share(~np.eye(grid**2, dtype=bool), regions).T


def _nearest(visible: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(B,) which of `SHARES` the hidden share of each face is nearest to."""
    return np.abs((~visible).mean(1)[:, None] - np.array(SHARES)).argmin(1)


def _terms(
    probabilities: Floats, thresholds: Floats, visible: NDArray[np.bool_], regions: Sequence[Rectangle]
) -> Floats:
    """(B, A, 5): 1, distance from the threshold, visible share of the region, their product, that of the face."""
    sure, limit = (logit(np.clip(values, 1e-6, 1 - 1e-6)) for values in (probabilities, thresholds))
    distance = np.abs(sure - limit).clip(max=FARTHEST)
    shown = 1 - region_hidden_share(visible, regions)
    face = np.broadcast_to(visible.mean(1)[:, None], shown.shape)
    return np.stack([np.ones_like(shown), distance, shown, distance * shown, face], -1)


def _regression(terms: Floats, right: NDArray[np.bool_]) -> Floats:
    """Weights (5,) of a ridge logistic regression, by Newton's method; the first, of 1, is not held back."""
    weights, ridge = np.zeros(terms.shape[1]), np.full(terms.shape[1], _RIDGE)
    ridge[0] = 1e-3
    for _ in range(50):
        chance = expit(terms @ weights)
        slope = terms.T @ (right - chance) - ridge * weights
        curve = (terms * (chance * (1 - chance))[:, None]).T @ terms + np.diag(ridge)
        step = np.linalg.solve(curve, slope)
        weights = weights + step.clip(-2, 2)
        if np.abs(step).max() < 1e-8:
            break
    return weights
