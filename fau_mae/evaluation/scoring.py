"""From stored predictions to the long results table: thresholds, scores of a cell, the table of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_modules.errors import UserError
from data_modules.occlusion.spec import PROTOCOL_VERSION
from fau_mae import metrics
from fau_mae.evaluation.names import CLEAN_KIND, kind_key
from fau_mae.evaluation.predictions import Cell, Predictions, list_cells, read_labels, read_predictions

ThresholdRule = Literal["by_visibility", "clean", "fixed"]


THRESHOLD_RULES: tuple[ThresholdRule, ...] = get_args(ThresholdRule)


METRICS = ("f1", "precision", "recall", "accuracy", "auroc", "average_precision", "ece", "floor_f1")


KEYS = ("experiment", "dataset", "fold", "seed", "method", "mask_source", "kind", "severity", "au")


COUNTS = ("n", "positives", "threshold", "threshold_rule")


RESULT_COLUMNS = (*KEYS, *COUNTS, *METRICS, "protocol_version", "checkpoint")


class Thresholds:
    """Per-AU decision thresholds of every cell, chosen on the validation subjects of the training fold.

    `by_visibility`: highest F1 on validation faces under the same kind and severity (the nearest severity
    that was swept, if that one was not), since probabilities shrink towards the prior when little is seen;
    `clean`: highest F1 on clean validation faces; `fixed`: .5.
    """

    def __init__(self, run_dir: Path, rule: ThresholdRule = "by_visibility") -> None:
        self.rule = rule
        self._chosen: dict[Path, NDArray[np.float64]] = {}
        if rule not in THRESHOLD_RULES:
            raise UserError(f"no threshold rule {rule!r}: use one of {', '.join(THRESHOLD_RULES)}")
        if rule != "fixed":
            folder = run_dir / "predictions" / "validation"
            self._labels = read_labels(folder)
            self._cells = list_cells(folder)

    def of(self, cell: Cell) -> NDArray[np.float64] | float:
        """(A,) thresholds for a test cell, or .5 under the rule `fixed`."""
        if self.rule == "fixed":
            return 0.5
        source = self._source(cell)
        if source.path not in self._chosen:
            faces = read_predictions(source.path, self._labels)
            self._chosen[source.path] = metrics.best_thresholds(faces.probabilities, faces.labels)
        return self._chosen[source.path]

    def _source(self, cell: Cell) -> Cell:
        severity = cell.severity if self.rule == "by_visibility" else 0.0
        own = [c for c in self._cells if (c.method, c.mask_source) == (cell.method, cell.mask_source)]
        if not own:
            raise UserError(
                f"no validation predictions of {cell.method}-{cell.mask_source} to choose thresholds on; "
                "sweep the validation split too, or use the threshold rule `fixed`"
            )
        if self.rule == "clean" and not any(c.severity == 0 for c in own):
            raise UserError(
                f"no validation predictions of {cell.method}-{cell.mask_source} on clean faces; "
                "sweep severity 0 too, or use the threshold rule `by_visibility`"
            )
        return min(own, key=lambda c: (abs(c.severity - severity), c.kind != cell.kind, kind_key(c.kind)))


def score_cell(faces: Predictions, thresholds: NDArray[np.float64] | float) -> pd.DataFrame:
    """Rows per AU and one `macro`, columns au, n, positives, threshold and the metrics.

    The macro row holds the number of faces, the sum of positives and the mean of each metric over the AUs
    where it is defined.
    """
    scores = metrics.au_scores(faces.probabilities, faces.labels, thresholds)
    rows = pd.DataFrame({"au": faces.aus, "n": scores["n"], "positives": scores["positives"]})
    rows["threshold"] = thresholds
    for name in METRICS:
        rows[name] = scores[name]
    macro = {name: float(metrics.macro(scores[name])) for name in METRICS}
    totals = {
        "au": "macro",
        "n": len(faces.sample_id),
        "positives": rows["positives"].sum(),
        "threshold": np.nan,
    }
    return pd.concat([rows, pd.DataFrame([totals | macro])], ignore_index=True)


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
    folder = run_dir / "predictions" / "test"
    labels, cells = read_labels(folder), list_cells(folder)
    if not cells:
        raise UserError(f"{folder} holds no predictions: run the occlusion sweep of this run first")
    thresholds = Thresholds(run_dir, threshold_rule)
    tables = []
    for cell in cells:
        rows = score_cell(read_predictions(cell.path, labels), thresholds.of(cell))
        tables.append(
            rows.assign(
                method=cell.method,
                mask_source=cell.mask_source,
                kind=cell.kind,
                severity=cell.severity,
                checkpoint=(checkpoints or {}).get(cell.method, ""),
            )
        )
    results = pd.concat(tables, ignore_index=True).assign(
        experiment=experiment,
        dataset=dataset,
        fold=fold,
        seed=seed,
        threshold_rule=threshold_rule,
        protocol_version=PROTOCOL_VERSION,
    )
    counts = ["n", "positives"]
    return results[list(RESULT_COLUMNS)].astype(dict.fromkeys(counts, np.int64))


def with_shared_clean(results: pd.DataFrame) -> pd.DataFrame:
    """Give every kind its start point: the rows of kind `none`, severity 0, repeated for each other kind."""
    kinds = [kind for kind in results["kind"].unique() if kind != CLEAN_KIND]
    clean = results[results["kind"] == CLEAN_KIND]
    occluded = results[results["kind"] != CLEAN_KIND]
    if not kinds:
        return clean
    return pd.concat([*(clean.assign(kind=kind) for kind in kinds), occluded], ignore_index=True)
