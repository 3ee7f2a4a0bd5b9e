"""How sure the results are: a bootstrap over subjects, paired between methods, and figures drawn from curves.

Frames of one person resemble each other, so people are resampled, not frames. One draw of subjects is used
for every method, occlusion and seed of a fold, which pairs all comparisons; the statistic of a draw is the
mean over folds and seeds of the macro metric, as in the tables. Decision thresholds stay as they were chosen, and
so do the weights: an interval says what other people might have shown, not what other seeds might have learnt.

Every function below takes and returns arrays of 1 + R values: the estimate on the subjects as they are, then
R resampled ones. So whatever is computed from curves has an interval.
"""

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.progress import track

from data_modules.errors import UserError
from data_modules.files import read_parquet
from fau_mae import metrics
from fau_mae.evaluation.names import CLEAN_KIND
from fau_mae.evaluation.predictions import Cell, Predictions, list_cells, read_labels, read_predictions
from fau_mae.run_folder import fold_folder

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


class MethodKey(NamedTuple):
    """A method as the tables tell it apart: told the mask or not."""

    method: str
    mask_source: str


class Curves:
    """Resampled macro metrics of one experiment, by method, kind, severity and metric, fold by fold.

    Args:
        samples: {(method, mask source, kind, severity, metric): {fold: (1 + R,)}}.
        faces: {(method, mask source, kind, severity): {fold: fingerprint of its faces and their masks}}.
    """

    def __init__(
        self,
        samples: Mapping[tuple[str, str, str, float, str], Mapping[int, Floats]],
        faces: Mapping[tuple[str, str, str, float], Mapping[int, int]],
    ) -> None:
        self._samples, self._faces = samples, faces
        self.methods = list(dict.fromkeys(MethodKey(*key[:2]) for key in samples))
        self.kinds = list(dict.fromkeys(kind for _, _, kind, *_ in samples if kind != CLEAN_KIND))

    def at(self, own: MethodKey, kind: str, severity: float, metric: str = "f1") -> Floats:
        """(1 + R,) macro metric of a cell; severity 0 is the same for every kind; KeyError if never swept."""
        return np.mean(list(self._samples[(*own, *_cell(kind, severity), metric)].values()), axis=0)

    def severities(self, own: MethodKey, kind: str) -> list[float]:
        """The severities above 0 that this method was swept at."""
        return sorted({s for m, mask, k, s, _ in self._samples if (m, mask, k) == (*own, kind) and s > 0})

    def has(self, own: MethodKey, kind: str, severity: float) -> bool:
        """Whether this method was swept there: one model per severity, say, may not read clean faces."""
        return any((*own, *_cell(kind, severity), metric) in self._samples for metric in METRICS)

    def ladder(self, kind: str) -> list[float]:
        """The severities above 0 that any method was swept at."""
        return sorted({s for _, _, k, s, _ in self._samples if k == kind and s > 0})

    def covers(self, own: MethodKey, kind: str) -> bool:
        """Whether this method was swept at the whole ladder of an occlusion: its means are not to be compared else."""
        return self.severities(own, kind) == self.ladder(kind) != []

    def mean(self, own: MethodKey, kind: str, metric: str = "f1") -> Floats:
        """(1 + R,) mean over the severities above 0 that this method was swept at."""
        return np.mean([self.at(own, kind, s, metric) for s in self.severities(own, kind)], axis=0)

    def retention(self, own: MethodKey, kind: str, severity: float) -> Floats | None:
        """(1 + R,) macro-F1 at this severity over the same method's on clean faces; NaN where that is 0.

        None for a method that was not swept on clean faces.
        """
        if not self.has(own, CLEAN_KIND, 0.0):
            return None
        clean = self.at(own, CLEAN_KIND, 0.0)
        return np.divide(
            self.at(own, kind, severity), clean, out=np.full_like(clean, np.nan), where=clean > 0
        )

    def robust_f1(self, own: MethodKey, kind: str) -> Floats | None:
        """(1 + R,) area under macro-F1 from severity 0 to the last, over that width: between 0 and 1.

        None for a method that was not swept on clean faces.
        """
        if not self.has(own, CLEAN_KIND, 0.0):
            return None
        ladder = [0.0, *self.severities(own, kind)]
        curve = np.array([self.at(own, kind, s) for s in ladder])
        return np.trapezoid(curve, ladder, axis=0) / ladder[-1]

    def relative_drop(self, own: MethodKey, kind: str, base: MethodKey) -> Floats | None:
        """(1 + R,) sum of 1 - F1 over severities, over that of `base` (mCE: Hendrycks & Dietterich 2019).

        Over the severities above 0 that both were swept at; None where there is none.
        """
        steps = [s for s in self.severities(own, kind) if s in self.severities(base, kind)]
        if not steps:
            return None
        lost, reference = (sum(1 - self.at(method, kind, s) for s in steps) for method in (own, base))
        return np.asarray(lost / reference)

    def folds(self, own: MethodKey) -> list[int]:
        """The test folds that this method was swept on."""
        return sorted({fold for key, folds in self._faces.items() if key[:2] == own for fold in folds})

    def shared_folds(self, own: MethodKey, other: "Curves", rival: MethodKey) -> list[int]:
        """The folds in which a method and a rival, here or in another experiment, saw the same faces anywhere."""
        cells = [key[2:] for key in self._faces if key[:2] == own]
        return sorted({fold for cell in cells for fold in self._shared(own, other, rival, cell)})

    def _shared(
        self, own: MethodKey, other: "Curves", rival: MethodKey, cell: tuple[str, float]
    ) -> list[int]:
        mine, theirs = self._faces.get((*own, *cell), {}), other._faces.get((*rival, *cell), {})
        return [fold for fold in mine if mine[fold] == theirs.get(fold)]

    def gap(
        self, own: MethodKey, other: "Curves", rival: MethodKey, kind: str, severity: float, metric: str
    ) -> Floats | None:
        """(1 + R,) this method minus a rival, here or in another experiment, on the same faces and masks.

        Over the folds in which both saw exactly the same; None where there is none.
        """
        cell = _cell(kind, severity)
        folds = self._shared(own, other, rival, cell)
        if not folds:
            return None
        left, right = self._samples[(*own, *cell, metric)], other._samples[(*rival, *cell, metric)]
        return np.mean([left[fold] - right[fold] for fold in folds], axis=0)


def _cell(kind: str, severity: float) -> tuple[str, float]:
    return (kind if severity else CLEAN_KIND, severity)


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
    return {(fold, seed): fold_folder(experiment, fold, seed) for fold, seed in pairs}


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
        replicates: number of draws R; their stream depends on `seed` and the people, nothing else.
    """
    samples: dict[tuple[str, str, str, float, str], dict[int, list[Floats]]] = {}
    faces: dict[tuple[str, str, str, float], dict[int, int]] = {}
    draws: dict[tuple[str, ...], Floats] = {}
    for scored in scored_cells(experiment, results):
        subjects, index = np.unique(scored.faces.subject.astype(str), return_inverse=True)
        people = tuple(subjects)
        if people not in draws:
            # The stream hangs on the people alone: another experiment on the same people draws the same.
            stream = np.random.default_rng([seed, zlib.crc32("\n".join(people).encode())])
            draws[people] = subject_weights(len(people), replicates, stream)
        for metric, values in _resampled(scored, index, draws[people]).items():
            if len(people) < 2:
                values[1:] = np.nan  # one person tells nothing of others
            samples.setdefault((*scored.cell[:4], metric), {}).setdefault(scored.fold, []).append(values)
        faces.setdefault(scored.cell[:4], {})[scored.fold] = _fingerprint(scored)
    means = {
        key: {fold: np.mean(seeds, axis=0) for fold, seeds in folds.items()} for key, folds in samples.items()
    }
    return Curves(means, faces)


def _fingerprint(scored: ScoredCell) -> int:
    """The same for two cells whose faces, people, labels and masks (as far as the sweep kept them) are the same."""
    shares = region_shares(scored)
    parts: list[NDArray] = [
        scored.faces.sample_id,
        scored.faces.labels,
        scored.faces.hidden.astype(np.float32),
    ]
    if shares is not None:
        parts.append(shares.astype(np.float32))
    text = "\n".join([*scored.faces.subject.astype(str), *scored.faces.aus])
    return zlib.crc32(b"".join(part.tobytes() for part in parts) + text.encode())


def region_shares(scored: ScoredCell) -> Floats | None:
    """(N, A) hidden share of each AU's region of the face, where the sweep left it (see regions.py)."""
    path = scored.cell.path.parent.parent / "regions" / scored.cell.path.name
    if not path.is_file():
        return None
    shares = read_parquet(path).drop_duplicates("sample_id").set_index("sample_id")
    return shares.loc[scored.faces.sample_id, list(scored.faces.aus)].to_numpy(np.float64)


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
