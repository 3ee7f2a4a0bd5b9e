"""A finished run in numbers: its predictions are read once, scored and resampled on the way, and let go.

Whatever shows a run (page, tables, figures, W&B) takes a `ScoredRun` and opens no predictions of its own. Predictions
of a large data set do not fit into memory together; what is kept of a file are its scores.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_modules.errors import UserError
from data_modules.files import ANEW, check_columns, read_parquet, reading
from fau_mae import metrics
from fau_mae.evaluation.bootstrap import REPLICATES, Bootstrap
from fau_mae.evaluation.curves import Curves
from fau_mae.evaluation.made_by import refuse_retrained
from fau_mae.evaluation.predictions import list_cells, read_labels, read_predictions, read_regions
from fau_mae.evaluation.regions import hidden_visible_f1
from fau_mae.evaluation.scoring import (
    METRICS,
    ScoredCell,
    ThresholdRule,
    Thresholds,
    cell_rows,
    results_table,
    scored_cells,
)
from fau_mae.run_folder import fold_folder, name_of, read_memory

Pair = tuple[int, int]  # fold, seed
Watch = Callable[[Iterable[Any]], Iterable[Any]]  # shows how far a loop is

_TEXTS = ("experiment", "dataset", "method", "mask_source", "kind", "au")
_NUMBERS = ("fold", "seed", "severity", "n", "positives", "threshold", *METRICS)

CELL = ["method", "mask_source", "kind", "severity"]


class FoldRun(NamedTuple):
    """The predictions of one fold and seed, and the weights behind them: method -> name."""

    folder: Path
    fold: int
    seed: int
    checkpoints: Mapping[str, str] = {}


class ScoredRun:
    """Scores of a run's cells; `add` each once.

    Attributes:
        folder: the run's.
        name: what it is called: by `--name`, or as its folder.
        results: the long results table.
        folders: (fold, seed) -> its folder.
        validation: (fold, seed) -> (method, mask source) -> macro-AUROC on validation people, one per rung.
        reliability: (method, mask source, kind, severity) -> (bins, 3): faces, sum of probabilities, of labels.
        people, faces: names of the test people and sample ids of the test faces.
    """

    def __init__(self, folder: Path, replicates: int = REPLICATES) -> None:
        self.folder = folder
        memory = read_memory(folder)
        self.name = name_of(folder, memory.label if memory is not None else "")
        self.results = pd.DataFrame()
        self.folders: dict[Pair, Path] = {}
        self.validation: dict[Pair, dict[tuple[str, str], list[float]]] = {}
        self.reliability: dict[tuple[str, str, str, float], NDArray[np.float64]] = {}
        self.people: set[str] = set()
        self.faces: set[int] = set()
        self._bootstrap = Bootstrap(replicates)
        self._regions: list[tuple[Any, ...]] = []
        self._curves: dict[frozenset[Pair] | None, Curves] = {}

    def add(self, scored: ScoredCell) -> None:
        """Take up one cell."""
        faces, key = scored.faces, scored.cell[:4]
        self._bootstrap.add(scored)
        bins = metrics.reliability_bins(faces.probabilities, faces.labels)
        self.reliability[key] = self.reliability.get(key, 0) + bins
        if scored.hidden_regions is not None:
            found = hidden_visible_f1(scored.outcomes, scored.hidden_regions)
            self._regions.append((*key, *found))
        self.people |= set(faces.people.tolist())
        self.faces |= set(faces.sample_id.tolist())

    @property
    def has_predictions(self) -> bool:
        """Whether there were predictions to resample; else the results table is all there is."""
        return bool(self.reliability)

    def curves(self, pairs: Collection[Pair] | None = None) -> Curves:
        """Resampled macro metrics of all folds and seeds, or of some; made once."""
        key = None if pairs is None or set(pairs) == set(self.folders) else frozenset(pairs)
        if key not in self._curves:
            self._curves[key] = self._bootstrap.curves(key)
        return self._curves[key]

    def hidden_visible(self) -> pd.DataFrame:
        """method, mask_source, kind, severity, hidden_f1, visible_f1: means of runs; empty without regions."""
        table = pd.DataFrame(self._regions, columns=[*CELL, "hidden_f1", "visible_f1"])
        return table.groupby(CELL, sort=False, as_index=False).mean()


def score_run(
    folder: Path,
    folds: Sequence[FoldRun],
    *,
    experiment: str,
    dataset: str,
    threshold_rule: ThresholdRule = "by_visibility",
    watch: Watch = iter,
) -> ScoredRun:
    """Score the predictions of a run whose results table is yet to be made.

    Raises:
        UserError: predictions or labels are missing or do not fit together.
    """
    run = ScoredRun(folder)
    rows = []
    for one in folds:
        pair = (one.fold, one.seed)
        run.folders[pair] = one.folder
        thresholds = Thresholds(one.folder, threshold_rule)
        for scored in watch(scored_cells(one.folder, *pair, thresholds)):
            run.add(scored)
            rows.append(cell_rows(scored, one.checkpoints))
        run.validation[pair] = thresholds.validation_auroc()
    run.results = results_table(rows, experiment, dataset, threshold_rule)
    return run


def read_run(folder: Path, watch: Watch = iter, replicates: int = REPLICATES) -> ScoredRun:
    """A run from its results table and, where they are still there, the test predictions of every fold and seed.

    Raises:
        UserError: there is no results table, or predictions that do not fit it.
    """
    results = read_results(folder)
    run = ScoredRun(folder, replicates)
    run.results, run.folders = results, run_folders(folder, results)
    tests = {pair: one / "predictions" / "test" for pair, one in run.folders.items()}
    if not all(test.is_dir() for test in tests.values()):
        return run
    for one in run.folders.values():
        refuse_retrained(one)
    chosen = {
        key: rows.set_index("au")["threshold"] for key, rows in results.groupby(["fold", "seed", *CELL])
    }
    labels = {pair: read_labels(test) for pair, test in tests.items()}
    for pair, cell in watch([(pair, cell) for pair, test in tests.items() for cell in list_cells(test)]):
        faces = read_predictions(cell.path, labels[pair])
        if (key := (*pair, *cell[:4])) not in chosen:
            raise UserError(f"{cell.path} is not in results.parquet: score the experiment again")
        if lacking := set(faces.aus) - set(chosen[key].index):
            raise UserError(
                f"{folder / 'results.parquet'} lacks {min(lacking)}, which {cell.path} has: {ANEW}"
            )
        thresholds = chosen[key].loc[list(faces.aus)].to_numpy(np.float64)
        run.add(ScoredCell(pair[0], pair[1], cell, faces, thresholds, read_regions(cell, faces)))
    return run


def read_results(folder: Path) -> pd.DataFrame:
    """The results table of a run's folder. Raises `UserError` if there is none."""
    path = folder / "results.parquet"
    if not path.exists():
        raise UserError(f"{folder} holds no results.parquet: give the folder of a finished experiment")
    results = read_parquet(path)
    memory = read_memory(folder)
    with reading(path):
        check_columns(results, _TEXTS, _NUMBERS)
        pairs = {*zip(results["fold"].tolist(), results["seed"].tolist())}
        if memory is not None and memory.done and pairs != {(fold, seed) for fold, seed in memory.done}:
            raise ValueError("its folds and seeds are not those of run.json")
    return results


def run_folders(folder: Path, results: pd.DataFrame) -> dict[Pair, Path]:
    """(fold, seed) -> `fold<k>-seed<s>`, or the run's folder itself where predictions lie right in it."""
    pairs = sorted(set(zip(results["fold"].tolist(), results["seed"].tolist())))
    if len(pairs) == 1 and (folder / "predictions").is_dir():
        return {pairs[0]: folder}
    return {(fold, seed): fold_folder(folder, fold, seed) for fold, seed in pairs}
