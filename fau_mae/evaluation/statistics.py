"""How sure the results are: a bootstrap over subjects, paired between methods, and figures drawn from curves.

Frames of one person resemble each other, so people are resampled, not frames. One draw of subjects is used
for every method, occlusion and seed of a fold, which pairs all comparisons; the statistic of a draw is the
mean over folds and seeds of the macro metric, as in the tables. Decision thresholds stay as they were chosen.

Every function below takes and returns arrays of 1 + R values: the estimate on the subjects as they are, then
R resampled ones. So whatever is computed from curves has an interval.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.progress import track

from data_modules.errors import UserError
from fau_mae import metrics
from fau_mae.evaluation.scoring import (
    CLEAN_KIND,
    Cell,
    Predictions,
    list_cells,
    read_labels,
    read_predictions,
)

REPLICATES = 1000
METRICS = ("f1", "auroc")

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


class ScoredCell(NamedTuple):
    """A predictions file of one fold and seed, with the thresholds that the results table was made with."""

    fold: int
    seed: int
    cell: Cell
    faces: Predictions
    thresholds: Floats  # (A,)


class Curves:
    """Resampled macro metrics of one experiment, by method, mask source, kind, severity and metric."""

    def __init__(self, samples: dict[tuple[str, str, str, float, str], Floats]) -> None:
        self._samples = samples
        self.methods = list(dict.fromkeys((method, mask) for method, mask, *_ in samples))
        self.kinds = list(dict.fromkeys(kind for _, _, kind, *_ in samples if kind != CLEAN_KIND))

    def at(self, method: str, mask_source: str, kind: str, severity: float, metric: str = "f1") -> Floats:
        """(1 + R,) macro metric of a cell; severity 0 is the same for every kind; KeyError if never swept."""
        return self._samples[method, mask_source, kind if severity else CLEAN_KIND, severity, metric]

    def severities(self, method: str, mask_source: str, kind: str) -> list[float]:
        """The severities above 0 that this method was swept at."""
        own = {s for m, source, k, s, _ in self._samples if (m, source, k) == (method, mask_source, kind)}
        return sorted(s for s in own if s > 0)

    def mean(self, method: str, mask_source: str, kind: str, metric: str = "f1") -> Floats:
        """(1 + R,) mean over the severities above 0."""
        steps = self.severities(method, mask_source, kind)
        return np.mean([self.at(method, mask_source, kind, s, metric) for s in steps], axis=0)

    def retention(self, method: str, mask_source: str, kind: str, severity: float) -> Floats:
        """(1 + R,) macro-F1 at this severity over the same method's on clean faces."""
        return self.at(method, mask_source, kind, severity) / self.at(method, mask_source, CLEAN_KIND, 0.0)

    def robust_f1(self, method: str, mask_source: str, kind: str) -> Floats:
        """(1 + R,) area under macro-F1 from severity 0 to the last, over that width: between 0 and 1."""
        ladder = [0.0, *self.severities(method, mask_source, kind)]
        curve = np.array([self.at(method, mask_source, kind, s) for s in ladder])
        return np.trapezoid(curve, ladder, axis=0) / ladder[-1]

    def relative_drop(self, method: str, mask_source: str, kind: str, base: str = "clean") -> Floats:
        """(1 + R,) sum of 1 - F1 over severities, over that of `base` (mCE: Hendrycks & Dietterich 2019)."""
        steps = self.severities(method, mask_source, kind)
        base_mask = next(source for name, source in self.methods if name == base)
        own = sum(1 - self.at(method, mask_source, kind, s) for s in steps)
        reference = sum(1 - self.at(base, base_mask, kind, s) for s in steps)
        return np.asarray(own / reference)


def interval(samples: Floats) -> Interval:
    """The estimate, samples[0], and the 2.5 and 97.5 percentiles of the rest; NaN where undefined."""
    known = samples[1:][~np.isnan(samples[1:])]
    low, high = np.percentile(known, [2.5, 97.5]) if known.size else (np.nan, np.nan)
    return Interval(float(samples[0]), float(low), float(high))


def run_folders(experiment: Path, results: pd.DataFrame) -> dict[tuple[int, int], Path]:
    """(fold, seed) -> `fold<k>-seed<s>`, or the experiment itself where predictions lie right in it."""
    pairs = sorted(set(zip(results["fold"].tolist(), results["seed"].tolist())))
    if len(pairs) == 1 and (experiment / "predictions").is_dir():
        return {pairs[0]: experiment}
    return {(fold, seed): experiment / f"fold{fold}-seed{seed}" for fold, seed in pairs}


def scored_cells(experiment: Path, results: pd.DataFrame) -> Iterator[ScoredCell]:
    """The test predictions behind a results table, fold by fold, with a progress bar.

    Raises:
        UserError: predictions or labels of a fold are missing, or cells that the table lacks.
    """
    keys = ["fold", "seed", "method", "mask_source", "kind", "severity"]
    chosen = {key: rows.set_index("au")["threshold"] for key, rows in results.groupby(keys)}
    files = []
    for (fold, seed), folder in run_folders(experiment, results).items():
        labels = read_labels(folder / "predictions" / "test")
        files += [(fold, seed, cell, labels) for cell in list_cells(folder / "predictions" / "test")]
    for fold, seed, cell, labels in track(files, "Statistics", transient=True):
        faces = read_predictions(cell.path, labels)
        if (key := (fold, seed, *cell[:4])) not in chosen:
            raise UserError(f"{cell.path} is not in results.parquet: score the experiment again")
        yield ScoredCell(fold, seed, cell, faces, chosen[key].loc[list(faces.aus)].to_numpy(np.float64))


def bootstrap(experiment: Path, results: pd.DataFrame, replicates: int = REPLICATES, seed: int = 0) -> Curves:
    """Resample the subjects of every test fold and compute each cell's macro-F1 and macro-AUROC again.

    Args:
        experiment: folder with the stored predictions of every fold and seed in `results`.
        replicates: number of draws R; their stream depends on `seed` and nothing else.
    """
    stream = np.random.default_rng(seed)
    draws: dict[tuple[str, ...], Floats] = {}
    samples: dict[tuple[str, str, str, float, str], list[Floats]] = {}
    for scored in scored_cells(experiment, results):
        subjects, index = np.unique(scored.faces.subject.astype(str), return_inverse=True)
        people = tuple(subjects)
        if people not in draws:
            draws[people] = subject_weights(len(people), replicates, stream)
        for metric, values in _resampled(scored, index, draws[people]).items():
            if len(people) < 2:
                values[1:] = np.nan  # one person tells nothing of others
            samples.setdefault((*scored.cell[:4], metric), []).append(values)
    return Curves({key: np.mean(runs, axis=0) for key, runs in samples.items()})


def subject_weights(subjects: int, replicates: int, stream: np.random.Generator) -> Floats:
    """(1 + R, S): how often each subject counts; once in row 0, then as drawn with replacement."""
    drawn = stream.multinomial(subjects, np.full(subjects, 1 / subjects), size=replicates)
    return np.concatenate([np.ones((1, subjects)), drawn])


def _resampled(scored: ScoredCell, subject: NDArray[np.int64], weights: Floats) -> dict[str, Floats]:
    """{metric: (1 + R,)} from (N,) subject indices and (1 + R, S) weights."""
    faces, count = scored.faces, weights.shape[1]
    flags = metrics.outcomes(faces.probabilities, faces.labels, scored.thresholds)
    # Sums over frames commute with resampling whole subjects, so each draw is a product of small matrices.
    counts = metrics.Outcomes(*(weights @ _by_subject(flag, subject, count) for flag in flags))  # (1 + R, A)
    auroc = [_resampled_auroc(p, y, subject, weights) for p, y in zip(faces.probabilities.T, faces.labels.T)]
    return {
        "f1": metrics.macro(metrics.f1_score(counts)),
        "auroc": metrics.macro(np.array(auroc), axis=0),
    }


def _by_subject(flags: NDArray[np.bool_], subject: NDArray[np.int64], count: int) -> Floats:
    """(N, A) flags -> (S, A) counts."""
    return np.array([np.bincount(subject, column, count) for column in flags.T.astype(np.float64)]).T


def _resampled_auroc(p: Floats, y: NDArray[np.int8], subject: NDArray[np.int64], weights: Floats) -> Floats:
    """(1 + R,) AUROC of one AU from (N,) scores and labels.

    AUROC counts the pairs (positive, negative) in the right order. `pairs[s, t]` are those with the positive
    in subject s and the negative in subject t; a draw weights them by how often s and t were drawn.
    """
    count = weights.shape[1]
    _, level = np.unique(p, return_inverse=True)
    shape = (int(level.max()) + 1, count)
    positive, negative = (
        np.bincount(level[y == value] * count + subject[y == value], minlength=shape[0] * count).reshape(
            shape
        )
        for value in (1, 0)
    )  # (levels, S)
    below = np.cumsum(negative, axis=0) - negative / 2  # ties count one half
    pairs = positive.T.astype(np.float64) @ below  # (S, S)
    ordered = ((weights @ pairs) * weights).sum(1)
    possible = (weights @ positive.sum(0)) * (weights @ negative.sum(0))
    return np.divide(ordered, possible, out=np.full(len(weights), np.nan), where=possible > 0)


def summary_table(curves: Curves) -> pd.DataFrame:
    """Estimates with intervals: method, mask_source, kind, severity, metric, value, low, high.

    Metrics per cell: f1, auroc, retention. Per kind (severity NaN): mean_f1 and mean_auroc over the
    severities above 0, robust_f1 and, where a `clean` method was swept, relative_drop.
    """
    rows = []
    for method, mask in curves.methods:
        rows += [
            (method, mask, CLEAN_KIND, 0.0, m, *interval(curves.at(method, mask, CLEAN_KIND, 0.0, m)))
            for m in METRICS
        ]
        for kind in curves.kinds:
            for severity in curves.severities(method, mask, kind):
                cell = (method, mask, kind, severity)
                rows += [(*cell, metric, *interval(curves.at(*cell, metric))) for metric in METRICS]
                rows.append((*cell, "retention", *interval(curves.retention(*cell))))
            rows += [
                (method, mask, kind, np.nan, name, *interval(v))
                for name, v in _per_kind(curves, method, mask, kind)
            ]
    return pd.DataFrame(
        rows, columns=["method", "mask_source", "kind", "severity", "metric", *Interval._fields]
    )


def _per_kind(curves: Curves, method: str, mask: str, kind: str) -> Iterator[tuple[str, Floats]]:
    if not curves.severities(method, mask, kind):
        return
    yield "mean_f1", curves.mean(method, mask, kind, "f1")
    yield "mean_auroc", curves.mean(method, mask, kind, "auroc")
    yield "robust_f1", curves.robust_f1(method, mask, kind)
    if any(name == "clean" for name, _ in curves.methods):
        yield "relative_drop", curves.relative_drop(method, mask, kind)


def difference_table(curves: Curves, method: str, mask_source: str) -> pd.DataFrame:
    """This method minus each other, paired: rival, its mask, kind, severity, metric, interval.

    Severity NaN is the mean over the severities above 0. `counts` says that the interval excludes 0.
    """
    rows = []
    for rival in curves.methods:
        if rival == (method, mask_source):
            continue
        for kind in curves.kinds:
            steps = set(curves.severities(method, mask_source, kind)) & set(curves.severities(*rival, kind))
            for metric in METRICS:
                gaps = {
                    s: curves.at(method, mask_source, kind, s, metric) - curves.at(*rival, kind, s, metric)
                    for s in sorted(steps)
                }
                if gaps:
                    gaps[np.nan] = np.mean(list(gaps.values()), axis=0)
                for severity, gap in gaps.items():
                    found = interval(gap)
                    rows.append((*rival, kind, severity, metric, *found, found.excludes_zero))
    columns = ["rival", "rival_mask", "kind", "severity", "metric", *Interval._fields, "counts"]
    return pd.DataFrame(rows, columns=columns)
