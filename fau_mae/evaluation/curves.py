"""Resampled macro metrics of an experiment, and every figure that is drawn from them.

Every function takes and returns arrays of 1 + R values: the estimate on the subjects as they are, then R resampled
ones (see bootstrap.py). So whatever is computed from curves has an interval.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fau_mae.evaluation.names import CLEAN_KIND

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
        """(1 + R,) macro metric of a cell; severity 0 is the same for every kind; KeyError if never tested."""
        return np.mean(list(self._samples[(*own, *_cell(kind, severity), metric)].values()), axis=0)

    def severities(self, own: MethodKey, kind: str) -> list[float]:
        """The severities above 0 that this method was tested at."""
        return sorted({s for m, mask, k, s, _ in self._samples if (m, mask, k) == (*own, kind) and s > 0})

    def has(self, own: MethodKey, kind: str, severity: float) -> bool:
        """Whether this method was tested there: one model per severity, say, may not read clean faces."""
        return any((*own, *_cell(kind, severity), metric) in self._samples for metric in METRICS)

    def ladder(self, kind: str) -> list[float]:
        """The severities above 0 that any method was tested at."""
        return sorted({s for _, _, k, s, _ in self._samples if k == kind and s > 0})

    def covers(self, own: MethodKey, kind: str) -> bool:
        """Whether this method was tested at the whole ladder of an occlusion: its means are not to be compared else."""
        return self.severities(own, kind) == self.ladder(kind) != []

    def mean(self, own: MethodKey, kind: str, metric: str = "f1") -> Floats:
        """(1 + R,) mean over the severities above 0 that this method was tested at."""
        return np.mean([self.at(own, kind, s, metric) for s in self.severities(own, kind)], axis=0)

    def retention(self, own: MethodKey, kind: str, severity: float) -> Floats | None:
        """(1 + R,) macro-F1 at this severity over the same method's on clean faces; NaN where that is 0.

        None for a method that was not tested on clean faces.
        """
        if not self.has(own, CLEAN_KIND, 0.0):
            return None
        clean = self.at(own, CLEAN_KIND, 0.0)
        return np.divide(
            self.at(own, kind, severity), clean, out=np.full_like(clean, np.nan), where=clean > 0
        )

    def robust_f1(self, own: MethodKey, kind: str) -> Floats | None:
        """(1 + R,) area under macro-F1 from severity 0 to the last, over that width: between 0 and 1.

        None for a method that was not tested on clean faces.
        """
        if not self.has(own, CLEAN_KIND, 0.0):
            return None
        ladder = [0.0, *self.severities(own, kind)]
        curve = np.array([self.at(own, kind, s) for s in ladder])
        return np.trapezoid(curve, ladder, axis=0) / ladder[-1]

    def relative_drop(self, own: MethodKey, kind: str, base: MethodKey) -> Floats | None:
        """(1 + R,) sum of 1 - F1 over severities, over that of `base` (mCE: Hendrycks & Dietterich 2019).

        Over the severities above 0 that both were tested at; None where there is none.
        """
        steps = [s for s in self.severities(own, kind) if s in self.severities(base, kind)]
        if not steps:
            return None
        lost, reference = (sum(1 - self.at(method, kind, s) for s in steps) for method in (own, base))
        return np.asarray(lost / reference)

    def folds(self, own: MethodKey) -> list[int]:
        """The test folds that this method was tested on."""
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
