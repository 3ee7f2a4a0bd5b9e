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
from fau_mae.evaluation.resampling import Draws, auroc_of_draws, sums_of_draws
from fau_mae.evaluation.scoring import ScoredCell

REPLICATES = 1000
BLOCK = 64  # replicates drawn at once


class Bootstrap:
    """Macro-F1 and macro-AUROC of each cell, once on its faces and R times on resampled subjects.

    Args:
        replicates: number of draws R; their stream depends on `seed` and the people, nothing else.
    """

    def __init__(self, replicates: int = REPLICATES, seed: int = 0) -> None:
        self._replicates, self._seed = replicates, seed
        self._samples: dict[tuple[str, str, str, float, str], dict[tuple[int, int], Floats]] = {}
        self._faces: dict[tuple[str, str, str, float], dict[tuple[int, int], int]] = {}
        self._draws: dict[tuple[str, ...], Draws] = {}

    def add(self, scored: ScoredCell) -> None:
        """Resample one cell; what is kept of it is 1 + R values a metric."""
        people, pair = tuple(scored.faces.people.tolist()), (scored.fold, scored.seed)
        if people not in self._draws:
            # The stream hangs on the people alone: another experiment on the same people draws the same.
            stream = np.random.default_rng([self._seed, zlib.crc32("\n".join(people).encode())])
            self._draws[people] = draw_people(len(people), self._replicates, stream)
        for metric, values in _resampled(scored, self._draws[people]).items():
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
    faces = scored.faces
    parts: list[NDArray] = [faces.sample_id, faces.person, faces.labels, faces.hidden.astype(np.float32)]
    if scored.hidden_regions is not None:
        parts.append(scored.hidden_regions.astype(np.float32))
    mark = zlib.crc32("\n".join([*faces.people, *faces.aus]).encode())
    for part in parts:
        mark = zlib.crc32(np.ascontiguousarray(part).data, mark)
    return mark


def draw_people(people: int, replicates: int, stream: np.random.Generator) -> Draws:
    """(S, 1 + R): how often each of S people counts; once in column 0, then as drawn with replacement."""
    draws = np.ones((people, 1 + replicates), np.uint16)
    # In blocks: all draws of many people at once, as multinomial makes them, would take 8 bytes each.
    for start in range(0, replicates, BLOCK):
        size = min(BLOCK, replicates - start)
        drawn = stream.multinomial(people, np.full(people, 1 / people), size=size)
        draws[:, 1 + start : 1 + start + size] = drawn.T
    return draws


def _resampled(scored: ScoredCell, draws: Draws) -> dict[str, Floats]:
    """{metric: (1 + R,)}."""
    faces, people = scored.faces, len(draws)
    # Sums over frames commute with resampling whole subjects.
    counts = metrics.Outcomes(
        *(sums_of_draws(_by_person(flags, faces.person, people), draws).T for flags in scored.outcomes)
    )
    auroc = [auroc_of_draws(ranking, faces.person, draws) for ranking in scored.ranked]
    return {
        "f1": metrics.macro(metrics.f1_score(counts)),
        "auroc": metrics.macro(np.array(auroc), axis=0),
    }


def _by_person(flags: NDArray[np.bool_], person: NDArray[np.int64], people: int) -> Floats:
    """(N, A) flags -> (S, A) counts."""
    counts = [np.bincount(person[column], minlength=people) for column in flags.T]
    return np.stack(counts, 1).astype(np.float64)
