"""Which AUs could be seen at all: results split by whether an AU's region of the face is hidden.

The ladder leaves `predictions/<split>/regions/<kind>-<severity>.parquet` (sample_id, one column per AU =
hidden share of that AU's region, 0-1); it is the same for every method, as all walk the same masks.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data_modules.facs import Rectangle
from fau_mae import metrics

HIDDEN_FROM = 0.5  # an AU counts as hidden when at least this share of its region is
MIN_POSITIVES = 10  # an AU with fewer positive faces in a group says nothing there


def region_hidden_share(visible: NDArray[np.bool_], regions: Sequence[Rectangle]) -> NDArray[np.float64]:
    """Token masks (B, g·g), True = visible, and a rectangle per AU -> (B, A) hidden share of each region."""
    grid = round(visible.shape[1] ** 0.5)
    edges = np.arange(grid + 1) / grid
    weights = []
    for x0, y0, x1, y1 in regions:
        across = np.clip(np.minimum(edges[1:], x1) - np.maximum(edges[:-1], x0), 0, None)
        down = np.clip(np.minimum(edges[1:], y1) - np.maximum(edges[:-1], y0), 0, None)
        weights.append(np.outer(down, across).reshape(-1) / (across.sum() * down.sum()))
    return (~visible).astype(np.float64) @ np.array(weights).T


def hidden_visible_f1(
    probabilities: ArrayLike, labels: ArrayLike, thresholds: ArrayLike, hidden_share: ArrayLike
) -> tuple[float, float]:
    """Macro-F1 over the AUs whose region is at least half hidden, and over the others.

    All of (N, A), but thresholds (A,). A face counts, AU by AU, in the one group or the other; an AU with
    fewer than `MIN_POSITIVES` positive faces in a group is left out of its mean.
    """
    labels, hidden = np.asarray(labels), np.asarray(hidden_share) >= HIDDEN_FROM
    means = []
    for chosen in (hidden, ~hidden):
        counts = metrics.outcomes(probabilities, np.where(chosen, labels, -1), thresholds).total()
        enough = counts.tp + counts.fn >= MIN_POSITIVES
        means.append(float(metrics.macro(np.where(enough, metrics.f1_score(counts), np.nan))))
    return means[0], means[1]
