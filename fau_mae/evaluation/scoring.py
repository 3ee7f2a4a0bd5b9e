"""From stored predictions to the long results table: thresholds, scores of a cell, the table of a run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_modules.errors import UserError
from data_modules.occlusion.spec import PROTOCOL_VERSION
from fau_mae import metrics
from fau_mae.evaluation.names import CLEAN_KIND, kind_key
from fau_mae.evaluation.predictions import (
    Cell,
    Labels,
    Predictions,
    list_cells,
    read_labels,
    read_predictions,
    read_regions,
)

ThresholdRule = Literal["by_visibility", "clean", "fixed"]
THRESHOLD_RULES: tuple[ThresholdRule, ...] = get_args(ThresholdRule)
METRICS = ("f1", "precision", "recall", "accuracy", "auroc", "average_precision", "ece", "floor_f1")
KEYS = ("experiment", "dataset", "fold", "seed", "method", "mask_source", "kind", "severity", "au")
COUNTS = ("n", "positives", "threshold", "threshold_rule")
RESULT_COLUMNS = (*KEYS, *COUNTS, *METRICS, "protocol_version", "checkpoint")


@dataclass(frozen=True)
class ScoredCell:
    """A predictions file of one fold and seed, with the thresholds that its F1 is told by."""

    fold: int
    seed: int
    cell: Cell
    faces: Predictions
    thresholds: NDArray[np.float64]  # (A,)
    # (N, A) hidden share of each AU's region, where the ladder left it
    hidden_regions: NDArray[np.float64] | None

    @cached_property
    def ranked(self) -> list[metrics.Ranking]:
        """Its faces sorted, per AU."""
        return metrics.rankings(self.faces.probabilities, self.faces.labels)

    @cached_property
    def outcomes(self) -> metrics.Outcomes:
        """(N, A) flags: what became of each known label."""
        return metrics.outcomes(self.faces.probabilities, self.faces.labels, self.thresholds)


class Thresholds:
    """Per-AU decision thresholds of every cell, chosen on the validation subjects of the training fold.

    `by_visibility`: highest F1 on validation faces under the same kind and severity (the nearest severity of
    this method's ladder, if that one was not on it), since probabilities shrink towards the prior when little is
    seen; `clean`: highest F1 on clean validation faces; `fixed`: .5. A validation file is read once, when it is needed.
    """

    def __init__(self, run_dir: Path, rule: ThresholdRule = "by_visibility") -> None:
        self.rule = rule
        self._folder = run_dir / "predictions" / "validation"
        self._known: dict[Path, tuple[NDArray[np.float64], float]] = {}
        if rule not in THRESHOLD_RULES:
            raise UserError(f"no threshold rule {rule!r}: use one of {', '.join(THRESHOLD_RULES)}")
        if rule != "fixed":
            self._labels = read_labels(self._folder)  # missing ones are refused before anything is scored

    @cached_property
    def _labels(self) -> Labels:
        return read_labels(self._folder)

    @cached_property
    def _cells(self) -> list[Cell]:
        return list_cells(self._folder)

    def of(self, cell: Cell, aus: int) -> NDArray[np.float64]:
        """(A,) thresholds for a test cell of `aus` action units."""
        return np.full(aus, 0.5) if self.rule == "fixed" else self._read(self._source(cell))[0]

    def validation_auroc(self) -> dict[tuple[str, str], list[float]]:
        """(method, mask source) -> macro-AUROC on validation people, one per rung: what settings may be chosen by."""
        found: dict[tuple[str, str], list[float]] = {}
        for cell in self._cells:
            found.setdefault((cell.method, cell.mask_source), []).append(self._read(cell)[1])
        return found

    def _read(self, cell: Cell) -> tuple[NDArray[np.float64], float]:
        """Best thresholds (A,), and macro-AUROC, of a validation cell."""
        if cell.path not in self._known:
            faces = read_predictions(cell.path, self._labels)
            ranked = metrics.rankings(faces.probabilities, faces.labels)
            auroc = float(metrics.macro(metrics.auroc(ranked)))
            self._known[cell.path] = (metrics.best_thresholds(ranked), auroc)
        return self._known[cell.path]

    def _source(self, cell: Cell) -> Cell:
        severity = cell.severity if self.rule == "by_visibility" else 0.0
        own = [c for c in self._cells if (c.method, c.mask_source) == (cell.method, cell.mask_source)]
        if not own:
            raise UserError(
                f"no validation predictions of {cell.method}-{cell.mask_source} to choose thresholds on; "
                "walk the ladder on the validation split too, or use the threshold rule `fixed`"
            )
        if self.rule == "clean" and not any(c.severity == 0 for c in own):
            raise UserError(
                f"no validation predictions of {cell.method}-{cell.mask_source} on clean faces; "
                "take severity 0 into the ladder, or use the threshold rule `by_visibility`"
            )
        return min(own, key=lambda c: (abs(c.severity - severity), c.kind != cell.kind, kind_key(c.kind)))


def score_predictions(
    run_dir: Path,
    *,
    experiment: str,
    dataset: str,
    fold: int,
    seed: int,
    threshold_rule: ThresholdRule = "by_visibility",
    checkpoints: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """The results table of one fold and seed, from the predictions on its test split; needs no model.

    Args:
        run_dir: folder with `predictions/test` and, unless thresholds are fixed, `predictions/validation`.
        threshold_rule: see `Thresholds`; recorded in the column of this name.
        checkpoints: which weights each method was run with, to be recorded; method -> name.

    Returns:
        One row per method x mask source x kind x severity x AU (and `macro`), columns `RESULT_COLUMNS`.

    Raises:
        UserError: predictions or labels are missing or do not fit together.
    """
    thresholds = Thresholds(run_dir, threshold_rule)
    rows = [cell_rows(scored, checkpoints or {}) for scored in scored_cells(run_dir, fold, seed, thresholds)]
    return results_table(rows, experiment, dataset, threshold_rule)


def scored_cells(run_dir: Path, fold: int, seed: int, thresholds: Thresholds) -> Iterator[ScoredCell]:
    """The test predictions of one fold and seed with their thresholds; each file is read once."""
    folder = run_dir / "predictions" / "test"
    labels, cells = read_labels(folder), list_cells(folder)
    if not cells:
        raise UserError(f"{folder} holds no predictions: run the occlusion ladder of this run first")
    for cell in cells:
        faces = read_predictions(cell.path, labels)
        yield ScoredCell(
            fold, seed, cell, faces, thresholds.of(cell, len(faces.aus)), read_regions(cell, faces)
        )


def cell_rows(scored: ScoredCell, checkpoints: Mapping[str, str]) -> pd.DataFrame:
    """The rows of one cell in the results table, one per AU and `macro`; see `results_table` for what they lack.

    The macro row holds the number of faces, the sum of positives and the mean of each metric over the AUs
    where it is defined.
    """
    faces, (method, mask_source, kind, severity, _) = scored.faces, scored.cell
    scores = metrics.au_scores(
        faces.probabilities, faces.labels, scored.thresholds, scored.outcomes, scored.ranked
    )
    columns: dict[str, Any] = {
        "fold": scored.fold,
        "seed": scored.seed,
        "method": method,
        "mask_source": mask_source,
        "kind": kind,
        "severity": severity,
        "au": [*faces.aus, "macro"],
        "n": np.append(scores["n"], len(faces.sample_id)),
        "positives": np.append(scores["positives"], scores["positives"].sum()),
        "threshold": np.append(scored.thresholds, np.nan),
        "checkpoint": checkpoints.get(method, ""),
    }
    columns |= {name: np.append(scores[name], metrics.macro(scores[name])) for name in METRICS}
    return pd.DataFrame(columns)


def results_table(
    rows: Sequence[pd.DataFrame], experiment: str, dataset: str, threshold_rule: ThresholdRule
) -> pd.DataFrame:
    """The rows of all cells as one table with the columns `RESULT_COLUMNS`."""
    results = pd.concat(rows, ignore_index=True).assign(
        experiment=experiment,
        dataset=dataset,
        threshold_rule=threshold_rule,
        protocol_version=PROTOCOL_VERSION,
    )
    return results[list(RESULT_COLUMNS)].astype(dict.fromkeys(["n", "positives"], np.int64))


def with_shared_clean(results: pd.DataFrame) -> pd.DataFrame:
    """Give every kind its start point: the rows of kind `none`, severity 0, repeated for each other kind."""
    kinds = [kind for kind in results["kind"].unique() if kind != CLEAN_KIND]
    clean = results[results["kind"] == CLEAN_KIND]
    occluded = results[results["kind"] != CLEAN_KIND]
    if not kinds:
        return clean
    return pd.concat([*(clean.assign(kind=kind) for kind in kinds), occluded], ignore_index=True)
