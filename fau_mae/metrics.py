"""Metrics of AU detection: per AU and macro, in NumPy.

Shapes: N faces, A action units. Labels are 1 present, 0 absent, -1 unknown; an unknown label is left out of
its AU alone. A metric that is not defined for an AU (no positive face, say) is NaN, and `macro` is the mean
over the AUs where it is defined.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

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


class Ranking(NamedTuple):
    """The K known faces of one AU from the highest score to the lowest, with T distinct scores."""

    faces: NDArray[np.int64]  # (K,) which of the N faces
    present: NDArray[np.bool_]  # (K,)
    score: Floats  # (T,)
    predicted: NDArray[np.int64]  # (T,) faces called present when cut at each score
    tp: NDArray[np.int64]  # (T,) true positives among them


def rankings(probabilities: ArrayLike, labels: ArrayLike) -> list[Ranking]:
    """The faces (N, A) sorted once per AU, for every metric that needs them sorted."""
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    return [_ranking(p, y) for p, y in zip(probabilities.T, labels.T)]


def _ranking(p: Floats, y: NDArray) -> Ranking:
    known = np.flatnonzero(y >= 0)
    faces = known[np.argsort(-p[known])]
    present, score = y[faces] == 1, p[faces]
    last_of_ties = np.flatnonzero(np.append(score[1:] != score[:-1], True)[: len(score)])
    return Ranking(faces, present, score[last_of_ties], last_of_ties + 1, np.cumsum(present)[last_of_ties])


def auroc(ranked: Sequence[Ranking]) -> Floats:
    """Area under the ROC curve per AU, (A,): P(positive above negative), a tie counts half."""
    return np.array([_auroc(ranking) for ranking in ranked], np.float64)


def average_precision(ranked: Sequence[Ranking]) -> Floats:
    """Area under the precision-recall steps per AU, (A,), without interpolation."""
    return np.array([_average_precision(ranking) for ranking in ranked], np.float64)


def calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = CALIBRATION_BINS) -> Floats:
    """Expected calibration error per AU, (N, A) -> (A,): mean |probability - positive rate| over equal bins.

    Naeini et al. 2015, for the probability of the positive class.
    """
    return _per_au(lambda p, present: _calibration_error(p, present, bins), probabilities, labels)


def reliability_bins(probabilities: ArrayLike, labels: ArrayLike, bins: int = 10) -> Floats:
    """Sums behind a reliability diagram over all AUs, (bins, 3): labels, probabilities, positives per bin."""
    labels = np.asarray(labels).T
    p = np.asarray(probabilities, np.float64).T[labels >= 0]
    index = np.minimum((p * bins).astype(np.int64), bins - 1)
    sums = [np.bincount(index, weight, bins) for weight in (p, labels[labels >= 0])]
    return np.stack([np.bincount(index, minlength=bins), *sums], axis=1)


def au_scores(
    probabilities: ArrayLike,
    labels: ArrayLike,
    thresholds: ArrayLike = 0.5,
    flags: Outcomes | None = None,
    ranked: Sequence[Ranking] | None = None,
) -> dict[str, Floats]:
    """Every metric of the results table, per AU.

    Args:
        probabilities: (N, A) in [0, 1].
        labels: (N, A), 1 present, 0 absent, -1 unknown.
        thresholds: (A,) or one for all; present is predicted where probability >= threshold.
        flags, ranked: their `outcomes` and `rankings`, where these are there already.

    Returns:
        {metric: (A,)} with n, positives, prevalence, f1, precision, recall, accuracy, auroc,
        average_precision, ece and floor_f1; NaN where undefined (precision: nothing predicted present).
    """
    probabilities = np.asarray(probabilities, np.float64)
    ranked = rankings(probabilities, labels) if ranked is None else ranked
    counts = (outcomes(probabilities, labels, thresholds) if flags is None else flags).total()
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
        "auroc": auroc(ranked),
        "average_precision": average_precision(ranked),
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


def best_thresholds(ranked: Sequence[Ranking]) -> Floats:
    """The threshold of highest smoothed F1 per AU, (A,); .5 for an AU without positive faces.

    F1 as a function of how many faces are called present is averaged over a window of `THRESHOLD_SMOOTHING` of
    the faces first: the raw curve's peak is mostly noise where little of the face is seen, and does not carry
    over to other people.
    Halfway between the lowest score called present and the next one below it (0 below the last).
    """
    return np.array([_best_threshold(ranking) for ranking in ranked], np.float64)


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


def _auroc(ranking: Ranking) -> float:
    positives = int(ranking.present.sum())
    negatives = ranking.present.size - positives
    if not positives or not negatives:
        return np.nan
    fp = ranking.predicted - ranking.tp
    # Trapezoids of the ROC curve are Mann-Whitney's U, with ties as one half.
    widths = np.diff(fp, prepend=0)
    heights = ranking.tp - np.diff(ranking.tp, prepend=0) / 2
    return float((widths * heights).sum() / (positives * negatives))


def _average_precision(ranking: Ranking) -> float:
    positives = int(ranking.present.sum())
    if not positives:
        return np.nan
    return float((np.diff(ranking.tp, prepend=0) * (ranking.tp / ranking.predicted)).sum() / positives)


def _calibration_error(p: Floats, present: NDArray, bins: int) -> float:
    if not p.size:
        return np.nan
    _, probable, positive = reliability_bins(p, present, bins).T
    return float(np.abs(probable - positive).sum() / p.size)


def _best_threshold(ranking: Ranking) -> float:
    faces, present, score, predicted, tp = ranking
    if not present.any():
        return 0.5
    f1 = 2 * tp / (predicted + present.sum())
    reach = THRESHOLD_SMOOTHING / 2 * len(faces)
    first = np.searchsorted(predicted, predicted - reach, "left")
    after = np.searchsorted(predicted, predicted + reach, "right")
    sums = np.concatenate([[0.0], np.cumsum(f1)])
    best = int(np.argmax((sums[after] - sums[first]) / (after - first)))
    below = score[best + 1] if best + 1 < len(score) else 0.0
    return float((score[best] + below) / 2)
