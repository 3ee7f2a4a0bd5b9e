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


def hidden_visible_f1(flags: metrics.Outcomes, hidden_share: ArrayLike) -> tuple[float, float]:
    """Macro-F1 over the AUs whose region is at least half hidden, and over the others.

    `flags` as `metrics.outcomes` makes them and shares, all (N, A). A face counts, AU by AU, in the one group or the
    other; an AU with fewer than `MIN_POSITIVES` positive faces in a group is left out of its mean.
    """
    hidden = np.asarray(hidden_share) >= HIDDEN_FROM
    where_hidden = metrics.Outcomes(*(flag & hidden for flag in flags)).total()
    where_visible = metrics.Outcomes(*(a - b for a, b in zip(flags.total(), where_hidden)))
    means = []
    for counts in (where_hidden, where_visible):
        enough = counts.tp + counts.fn >= MIN_POSITIVES
        means.append(float(metrics.macro(np.where(enough, metrics.f1_score(counts), np.nan))))
    return means[0], means[1]
