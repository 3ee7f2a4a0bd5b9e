"""Figures with intervals, of one method and of one method against another, from resampled curves."""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from fau_mae.evaluation.curves import METRICS, Curves, Floats, Interval, MethodKey, interval
from fau_mae.evaluation.names import CLEAN_KIND

ALL_KINDS = "all"  # the mean over the kinds of occlusion
BASE_METHOD = "clean"


def summary_table(curves: Curves) -> pd.DataFrame:
    """Estimates with intervals: method, mask_source, kind, severity, metric, value, low, high.

    Metrics per cell: f1, auroc, retention. Per kind (severity NaN): mean_f1 and mean_auroc over the severities
    above 0, robust_f1 and, where a `clean` method was tested, relative_drop. Kind `all` holds the mean over kinds
    of each, for methods that were tested on every kind. A method that was swept at some severities only has no
    figures per kind, one that was not tested on clean faces no retention and no robust_f1.
    """
    rows: list[tuple] = []
    for own in curves.methods:
        if curves.has(own, CLEAN_KIND, 0.0):
            clean = {metric: curves.at(own, CLEAN_KIND, 0.0, metric) for metric in METRICS}
            rows += [(*own, CLEAN_KIND, 0.0, metric, *interval(values)) for metric, values in clean.items()]
        figures = {
            kind: dict(_figures(curves, own, kind)) for kind in curves.kinds if curves.severities(own, kind)
        }
        if len(figures) == len(curves.kinds) > 1:
            figures[ALL_KINDS] = _mean_over_kinds(figures.values())
        for kind, found in figures.items():
            rows += [
                (*own, kind, severity, metric, *interval(values))
                for (severity, metric), values in found.items()
            ]
    columns = ["method", "mask_source", "kind", "severity", "metric", *Interval._fields]
    return pd.DataFrame(rows, columns=columns).astype({"severity": float})


def _figures(curves: Curves, own: MethodKey, kind: str) -> Iterator[tuple[tuple[float | None, str], Floats]]:
    """((severity or None, metric), samples) of one kind."""
    for severity in curves.severities(own, kind):
        for metric in METRICS:
            yield (severity, metric), curves.at(own, kind, severity, metric)
        if (retention := curves.retention(own, kind, severity)) is not None:
            yield (severity, "retention"), retention
    if not curves.covers(own, kind):
        return
    for metric in METRICS:
        yield (None, f"mean_{metric}"), curves.mean(own, kind, metric)
    if (robust := curves.robust_f1(own, kind)) is not None:
        yield (None, "robust_f1"), robust
    base = next((key for key in curves.methods if key.method == BASE_METHOD), None)
    if base and (drop := curves.relative_drop(own, kind, base)) is not None:
        yield (None, "relative_drop"), drop


def _mean_over_kinds(
    kinds: Iterable[dict[tuple[float | None, str], Floats]],
) -> dict[tuple[float | None, str], Floats]:
    """The mean of what every kind has, so that kinds whose object ends early do not bend the curve."""
    first, *others = kinds
    return {
        key: np.mean([first[key], *(figures[key] for figures in others)], axis=0)
        for key in first
        if all(key in figures for figures in others)
    }


def difference_table(curves: Curves, own: MethodKey, other: Curves, rival: MethodKey) -> pd.DataFrame:
    """This method minus a rival of the same or another experiment: kind, severity, metric, value, low, high, counts.

    Paired: only folds where both saw the same faces under the same masks, so cells may be missing. Severity NaN
    is the mean over the severities above 0, kind `all` the mean over kinds where both experiments tested the same
    kinds. `counts` says that the 95 % interval excludes 0.
    """
    figures = {}
    for kind in curves.kinds:
        if found := _gaps(curves, own, other, rival, kind):
            figures[kind] = found
    if len(figures) > 1 and set(figures) == set(curves.kinds) == set(other.kinds):
        figures[ALL_KINDS] = _mean_over_kinds(figures.values())
    clean = {(0.0, m): curves.gap(own, other, rival, CLEAN_KIND, 0.0, m) for m in METRICS}
    figures[CLEAN_KIND] = {key: gap for key, gap in clean.items() if gap is not None}
    rows = [
        (kind, severity, metric, *(estimate := interval(gap)), estimate.excludes_zero)
        for kind, gaps in figures.items()
        for (severity, metric), gap in gaps.items()
    ]
    columns = ["kind", "severity", "metric", *Interval._fields, "counts"]
    return pd.DataFrame(rows, columns=columns).astype({"severity": float})


def _gaps(
    curves: Curves, own: MethodKey, other: Curves, rival: MethodKey, kind: str
) -> dict[tuple[float | None, str], Floats]:
    steps = [s for s in curves.severities(own, kind) if s in other.severities(rival, kind)]
    gaps: dict[tuple[float | None, str], Floats] = {}
    for metric in METRICS:
        found = {s: curves.gap(own, other, rival, kind, s, metric) for s in steps}
        known: dict[tuple[float | None, str], Floats] = {
            (s, metric): gap for s, gap in found.items() if gap is not None
        }
        gaps |= known
        if known:
            gaps[None, metric] = np.mean(list(known.values()), axis=0)
    return gaps
