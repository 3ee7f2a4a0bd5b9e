"""How sure the results are: a bootstrap over subjects, paired between methods.

Frames of one person resemble each other, so people are resampled, not frames. One draw of subjects is used
for every method, occlusion and seed of a fold, which pairs all comparisons; the statistic of a draw is the
mean over folds and seeds of the macro metric, as in the tables. Decision thresholds stay as they were chosen, and
so do the weights: an interval says what other people might have shown, not what other seeds might have learnt.
"""

import zlib
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from fau_mae import metrics
from fau_mae.evaluation.curves import Curves, Floats
from fau_mae.evaluation.scoring import ScoredCell

REPLICATES = 1000


class Bootstrap:
    """Macro-F1 and macro-AUROC of each cell, once on its faces and R times on resampled subjects.

    Args:
        replicates: number of draws R; their stream depends on `seed` and the people, nothing else.
    """

    def __init__(self, replicates: int = REPLICATES, seed: int = 0) -> None:
        self._replicates, self._seed = replicates, seed
        self._samples: dict[tuple[str, str, str, float, str], dict[tuple[int, int], Floats]] = {}
        self._faces: dict[tuple[str, str, str, float], dict[tuple[int, int], int]] = {}
        self._draws: dict[tuple[str, ...], Floats] = {}

    def add(self, scored: ScoredCell) -> None:
        """Resample one cell; what is kept of it is 1 + R values a metric."""
        subjects, index = np.unique(scored.faces.subject.astype(str), return_inverse=True)
        people, pair = tuple(subjects), (scored.fold, scored.seed)
        if people not in self._draws:
            # The stream hangs on the people alone: another experiment on the same people draws the same.
            stream = np.random.default_rng([self._seed, zlib.crc32("\n".join(people).encode())])
            self._draws[people] = subject_weights(len(people), self._replicates, stream)
        for metric, values in _resampled(scored, index, self._draws[people]).items():
            if len(people) < 2:
                values[1:] = np.nan  # one person tells nothing of others
            self._samples.setdefault((*scored.cell[:4], metric), {})[pair] = values
        self._faces.setdefault(scored.cell[:4], {})[pair] = _fingerprint(scored)

    def curves(self, pairs: Collection[tuple[int, int]] | None = None) -> Curves:
        """The cells added so far, of all folds and seeds or of these (fold, seed) pairs; means over seeds."""
        samples, faces = {}, {}
        for key, found in self._samples.items():
            folds: dict[int, list[Floats]] = {}
            for (fold, seed), values in found.items():
                if pairs is None or (fold, seed) in pairs:
                    folds.setdefault(fold, []).append(values)
            if folds:
                samples[key] = {fold: np.mean(seeds, axis=0) for fold, seeds in folds.items()}
        for cell, prints in self._faces.items():
            if kept := {pair[0]: one for pair, one in prints.items() if pairs is None or pair in pairs}:
                faces[cell] = kept
        return Curves(samples, faces)


def _fingerprint(scored: ScoredCell) -> int:
    """The same for two cells whose faces, people, labels and masks (as far as the ladder kept them) are the same."""
    parts: list[NDArray] = [
        scored.faces.sample_id,
        scored.faces.labels,
        scored.faces.hidden.astype(np.float32),
    ]
    if scored.hidden_regions is not None:
        parts.append(scored.hidden_regions.astype(np.float32))
    text = "\n".join([*scored.faces.subject.astype(str), *scored.faces.aus])
    return zlib.crc32(b"".join(part.tobytes() for part in parts) + text.encode())


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
    # (levels, S)
    positive, negative = (
        np.bincount(level[y == value] * count + subject[y == value], minlength=shape[0] * count).reshape(
            shape
        )
        for value in (1, 0)
    )
    below = np.cumsum(negative, axis=0) - negative / 2  # ties count one half
    pairs = positive.T.astype(np.float64) @ below  # (S, S)
    ordered = ((weights @ pairs) * weights).sum(1)
    possible = (weights @ positive.sum(0)) * (weights @ negative.sum(0))
    return np.divide(ordered, possible, out=np.full(len(weights), np.nan), where=possible > 0)
