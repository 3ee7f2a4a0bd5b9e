"""Metrics of AU detection: per AU and macro, in NumPy, and one torchmetrics module for validation epochs.

Shapes: N faces, A action units. Labels are 1 present, 0 absent, -1 unknown; an unknown label is left out of
its AU alone. A metric that is not defined for an AU (no positive face, say) is NaN, and `macro` is the mean
over the AUs where it is defined.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torchmetrics import Metric

Floats = NDArray[np.float64]

CALIBRATION_BINS = 15
THRESHOLD_SMOOTHING = 0.1  # share of the validation faces


class Outcomes(NamedTuple):
    """What became of each known label: true and false positives and negatives, of any one shape.

    Either (N, A) flags of single faces or counts summed over faces; see `outcomes`.
    """

    tp: NDArray
    fp: NDArray
    fn: NDArray
    tn: NDArray

    def total(self) -> "Outcomes":
        """(N, A) flags -> (A,) counts."""
        return Outcomes(*(flags.sum(0) for flags in self))


def outcomes(probabilities: ArrayLike, labels: ArrayLike, thresholds: ArrayLike = 0.5) -> Outcomes:
    """Flags (N, A) of every face and AU; predicted present: probability >= threshold, (A,) or scalar."""
    predicted = np.asarray(probabilities) >= np.asarray(thresholds)
    labels = np.asarray(labels)
    present, absent = labels == 1, labels == 0
    return Outcomes(predicted & present, predicted & absent, ~predicted & present, ~predicted & absent)


def f1_score(counts: Outcomes) -> Floats:
    """2tp / (2tp + fp + fn) of the positive class; NaN where no face is positive."""
    return _ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn, counts.tp + counts.fn > 0)


def floor_f1(prevalence: ArrayLike) -> Floats:
    """F1 of answering "present" for every face: 2r / (1 + r) for prevalence r; NaN where r is 0."""
    r = np.asarray(prevalence, np.float64)
    return _ratio(2 * r, 1 + r, r > 0)


def auroc(probabilities: ArrayLike, labels: ArrayLike) -> Floats:
    """Area under the ROC curve per AU, (N, A) -> (A,): P(positive above negative), a tie counts half."""
    return _per_au(_auroc, probabilities, labels)


def average_precision(probabilities: ArrayLike, labels: ArrayLike) -> Floats:
    """Area under the precision-recall steps per AU, (N, A) -> (A,), without interpolation."""
    return _per_au(_average_precision, probabilities, labels)


def calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = CALIBRATION_BINS) -> Floats:
    """Expected calibration error per AU, (N, A) -> (A,): mean |probability - positive rate| over equal bins.

    Naeini et al. 2015, for the probability of the positive class.
    """
    return _per_au(lambda p, present: _calibration_error(p, present, bins), probabilities, labels)


def reliability_bins(probabilities: ArrayLike, labels: ArrayLike, bins: int = 10) -> Floats:
    """Sums behind a reliability diagram over all AUs, (bins, 3): labels, probabilities, positives per bin."""
    labels = np.asarray(labels)
    p = np.asarray(probabilities, np.float64)[labels >= 0]
    index = np.minimum((p * bins).astype(np.int64), bins - 1)
    weights = (np.ones_like(p), p, labels[labels >= 0])
    return np.stack([np.bincount(index, weight, bins) for weight in weights], axis=1)


def au_scores(probabilities: ArrayLike, labels: ArrayLike, thresholds: ArrayLike = 0.5) -> dict[str, Floats]:
    """Every metric of the results table, per AU.

    Args:
        probabilities: (N, A) in [0, 1].
        labels: (N, A), 1 present, 0 absent, -1 unknown.
        thresholds: (A,) or one for all; present is predicted where probability >= threshold.

    Returns:
        {metric: (A,)} with n, positives, prevalence, f1, precision, recall, accuracy, auroc,
        average_precision, ece and floor_f1; NaN where undefined (precision: nothing predicted present).
    """
    probabilities = np.asarray(probabilities, np.float64)
    counts = outcomes(probabilities, labels, thresholds).total()
    tp, fp, fn, tn = counts
    n, positives = tp + fp + fn + tn, tp + fn
    prevalence = _ratio(positives, n, n > 0)
    return {
        "n": n.astype(np.float64),
        "positives": positives.astype(np.float64),
        "prevalence": prevalence,
        "f1": f1_score(counts),
        "precision": _ratio(tp, tp + fp, tp + fp > 0),
        "recall": _ratio(tp, positives, positives > 0),
        "accuracy": _ratio(tp + tn, n, n > 0),
        "auroc": auroc(probabilities, labels),
        "average_precision": average_precision(probabilities, labels),
        "ece": calibration_error(probabilities, labels),
        "floor_f1": floor_f1(prevalence),
    }


def macro(values: ArrayLike, axis: int = -1) -> Floats:
    """Mean over AUs where defined; NaN where no AU is."""
    values = np.asarray(values, np.float64)
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis), defined.sum(axis), defined.any(axis))


def intraclass_correlation(predicted: ArrayLike, truth: ArrayLike) -> Floats:
    """ICC(3,1) per AU of predicted against true intensities, (N, A) -> (A,); NaN truth is unknown.

    Two fixed raters, consistency, single rating (Shrout & Fleiss, 1979): (BMS − EMS) / (BMS + EMS), with the mean
    squares between faces and of the residual. NaN for fewer than two faces and where neither rater varies.
    """
    return _per_intensity(_icc, predicted, truth)


def mean_absolute_error(predicted: ArrayLike, truth: ArrayLike) -> Floats:
    """Mean |predicted − true| intensity per AU, (N, A) -> (A,); NaN truth is unknown."""
    return _per_intensity(lambda p, y: float(np.abs(p - y).mean()) if p.size else np.nan, predicted, truth)


def best_thresholds(probabilities: ArrayLike, labels: ArrayLike) -> Floats:
    """The threshold of highest smoothed F1 per AU, (N, A) -> (A,); .5 for an AU without positive faces.

    F1 as a function of how many faces are called present is averaged over a window of `THRESHOLD_SMOOTHING` of
    the faces first: the raw curve's peak is mostly noise where little of the face is seen, and does not carry
    over to other people.
    Halfway between the lowest score called present and the next one below it (0 below the last).
    """
    chosen = _per_au(_best_threshold, probabilities, labels)
    return np.where(np.isnan(chosen), 0.5, chosen)


class FaceMetrics(Metric):
    """Scores of an epoch's faces, each counted once, on any number of ranks.

    Distributed samplers repeat faces to even out the ranks; faces are told apart by sample id.
    """

    full_state_update = False
    predicted: list[Tensor]
    truth: list[Tensor]
    sample_id: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for state in ("predicted", "truth", "sample_id"):
            self.add_state(state, [], dist_reduce_fx="cat")

    def update(self, predicted: Tensor, truth: Tensor, sample_id: Tensor) -> None:
        """Take (B, A) predictions, the (B, A) truth and the (B,) int64 sample ids of a batch."""
        self.predicted.append(predicted.detach().float())
        self.truth.append(truth)
        self.sample_id.append(sample_id)

    def compute(self) -> dict[str, Tensor]:
        """Scalars by name, NaN while undefined for every AU."""
        predicted, truth, sample_id = (
            _joined(state).cpu().numpy() for state in (self.predicted, self.truth, self.sample_id)
        )
        _, first = np.unique(sample_id, return_index=True)
        scores = self.scores(predicted[first], truth[first])
        return {name: torch.tensor(float(value), device=self.device) for name, value in scores.items()}

    @abstractmethod
    def scores(self, predicted: NDArray, truth: NDArray) -> dict[str, NDArray]:
        """{name: scalar} of all faces, (N, A) each."""


class AUMetrics(FaceMetrics):
    """Macro AUROC and macro F1 at threshold .5 of probabilities against labels 1/0/-1: {"auroc", "f1"}."""

    def scores(self, predicted: NDArray, truth: NDArray) -> dict[str, NDArray]:
        counts = outcomes(predicted, truth).total()
        return {"auroc": macro(auroc(predicted, truth)), "f1": macro(f1_score(counts))}


class IntensityMetrics(FaceMetrics):
    """Macro ICC(3,1) and macro mean absolute error of intensities 0-5, NaN unknown: {"icc", "absolute_error"}."""

    def scores(self, predicted: NDArray, truth: NDArray) -> dict[str, NDArray]:
        return {
            "icc": macro(intraclass_correlation(predicted, truth)),
            "absolute_error": macro(mean_absolute_error(predicted, truth)),
        }


def _joined(state: Tensor | list[Tensor]) -> Tensor:
    # After a sync torchmetrics hands over one tensor, before it the list of batches.
    return state if isinstance(state, Tensor) else torch.cat(state)


def _ratio(numerator: NDArray, denominator: NDArray, defined: NDArray) -> Floats:
    out = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=out, where=np.asarray(defined))


def _per_au(
    metric: Callable[[Floats, NDArray], float], probabilities: ArrayLike, labels: ArrayLike
) -> Floats:
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    known = labels >= 0
    return np.array(
        [metric(p[k], y[k] == 1) for p, y, k in zip(probabilities.T, labels.T, known.T)], np.float64
    )


def _per_intensity(
    metric: Callable[[Floats, Floats], float], predicted: ArrayLike, truth: ArrayLike
) -> Floats:
    predicted, truth = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    known = ~np.isnan(truth)
    return np.array([metric(p[k], y[k]) for p, y, k in zip(predicted.T, truth.T, known.T)], np.float64)


def _icc(p: Floats, y: Floats) -> float:
    if p.size < 2:
        return np.nan
    # With two raters the mean squares are half the variances of the sum (faces) and of the difference (residual).
    between, residual = np.var(p + y, ddof=1) / 2, np.var(p - y, ddof=1) / 2
    return float((between - residual) / (between + residual)) if between + residual > 0 else np.nan


def _operating_points(p: Floats, present: NDArray) -> tuple[Floats, NDArray, NDArray]:
    """Distinct scores from high to low, with true positives and predicted positives when cut at each."""
    order = np.argsort(-p, kind="stable")
    score = p[order]
    last_of_ties = np.flatnonzero(np.append(score[1:] != score[:-1], True))
    return score[last_of_ties], np.cumsum(present[order])[last_of_ties], last_of_ties + 1


def _auroc(p: Floats, present: NDArray) -> float:
    positives = int(present.sum())
    negatives = present.size - positives
    if not positives or not negatives:
        return np.nan
    _, tp, predicted = _operating_points(p, present)
    fp = predicted - tp
    # Trapezoids of the ROC curve are Mann-Whitney's U, with ties as one half.
    widths = np.diff(fp, prepend=0)
    heights = tp - np.diff(tp, prepend=0) / 2
    return float((widths * heights).sum() / (positives * negatives))


def _average_precision(p: Floats, present: NDArray) -> float:
    positives = int(present.sum())
    if not positives:
        return np.nan
    _, tp, predicted = _operating_points(p, present)
    return float((np.diff(tp, prepend=0) * (tp / predicted)).sum() / positives)


def _calibration_error(p: Floats, present: NDArray, bins: int) -> float:
    if not p.size:
        return np.nan
    _, probable, positive = reliability_bins(p, present, bins).T
    return float(np.abs(probable - positive).sum() / p.size)


def _best_threshold(p: Floats, present: NDArray) -> float:
    if not present.any():
        return np.nan
    score, tp, predicted = _operating_points(p, present)
    f1 = 2 * tp / (predicted + present.sum())
    reach = THRESHOLD_SMOOTHING / 2 * len(p)
    first = np.searchsorted(predicted, predicted - reach, "left")
    after = np.searchsorted(predicted, predicted + reach, "right")
    sums = np.concatenate([[0.0], np.cumsum(f1)])
    best = int(np.argmax((sums[after] - sums[first]) / (after - first)))
    below = score[best + 1] if best + 1 < len(score) else 0.0
    return float((score[best] + below) / 2)
