"""From stored predictions to the long results table and the tables of the terminal.

A run folder holds `predictions/<split>/labels.parquet` (sample_id, subject, one int8 column per AU) and
`predictions/<split>/<method>-<mask_source>/<kind>-<severity>.parquet` (sample_id, subject, hidden, one
probability column per AU), split = validation or test. Severity 0 is stored once, as kind `none`: it is the
start of every kind's curve.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.table import Table

from data_modules.errors import UserError
from data_modules.files import read_parquet
from data_modules.occlusion.spec import PROTOCOL_VERSION
from fau_mae import metrics

ThresholdRule = Literal["by_visibility", "clean", "fixed"]
THRESHOLD_RULES: tuple[ThresholdRule, ...] = get_args(ThresholdRule)

METRICS = ("f1", "precision", "recall", "accuracy", "auroc", "average_precision", "ece", "floor_f1")
KEYS = ("experiment", "dataset", "fold", "seed", "method", "mask_source", "kind", "severity", "au")
COUNTS = ("n", "positives", "threshold", "threshold_rule")
RESULT_COLUMNS = (*KEYS, *COUNTS, *METRICS, "protocol_version", "checkpoint")

CLEAN_KIND = "none"
METHOD_ORDER = ("clean", "reconstruct", "augmented", "dropped", "student", "specialist")
MASK_ORDER = ("none", "oracle", "blind")
KIND_ORDER = (CLEAN_KIND, "patches", "block", "upper", "lower", "left", "right", "eyes", "mouth")

AU_COLUMN = re.compile(r"AU\d+")


class Cell(NamedTuple):
    """One predictions file: a method, told the mask or not, on one kind of occlusion at one severity."""

    method: str
    mask_source: str
    kind: str
    severity: float
    path: Path


class Predictions(NamedTuple):
    """N distinct faces in order of sample id, A action units."""

    sample_id: NDArray[np.int64]  # (N,)
    subject: NDArray  # (N,) of str
    hidden: NDArray[np.float64]  # (N,) exact hidden share of the crop
    aus: tuple[str, ...]
    probabilities: NDArray[np.float64]  # (N, A) in [0, 1]
    labels: NDArray[np.int8]  # (N, A) 1 / 0 / -1


def method_key(method: str, mask_source: str = "none") -> tuple[int, str, int, str]:
    """Sort key: the ladder of methods from baseline to student, unknown names behind it by name."""
    return (*_place(method, METHOD_ORDER), *_place(mask_source, MASK_ORDER))


def kind_key(kind: str) -> tuple[int, str]:
    """Sort key: grid kinds, edges, parts, then all others by name."""
    return _place(kind, KIND_ORDER)


def list_cells(folder: Path) -> list[Cell]:
    """The prediction files of one split, ordered by method, mask source, kind and severity."""
    cells = []
    for path in folder.glob("*/*.parquet"):
        method, dash, mask_source = path.parent.name.rpartition("-")
        kind, _, severity = path.stem.rpartition("-")
        if dash and mask_source in MASK_ORDER and kind:
            cells.append(Cell(method, mask_source, kind, float(severity), path))
    return sorted(cells, key=lambda c: (method_key(c.method, c.mask_source), kind_key(c.kind), c.severity))


def read_labels(folder: Path) -> pd.DataFrame:
    """Labels of one split: index sample_id, columns subject and one per AU; repeated faces once."""
    path = folder / "labels.parquet"
    if not path.is_file():
        raise UserError(f"{path} is missing: run the occlusion sweep of this run first")
    return read_parquet(path).drop_duplicates("sample_id").set_index("sample_id").sort_index()


def read_predictions(path: Path, labels: pd.DataFrame) -> Predictions:
    """One predictions file joined with the labels of its split; repeated faces (distributed padding) once.

    Raises:
        UserError: a face without labels, an AU column that is missing, or a value outside [0, 1].
    """
    frame = read_parquet(path).drop_duplicates("sample_id").set_index("sample_id").sort_index()
    aus = tuple(column for column in labels.columns if AU_COLUMN.fullmatch(column))
    if missing := [au for au in aus if au not in frame.columns]:
        raise UserError(f"{path} lacks the columns {', '.join(missing)} that labels.parquet has")
    if not frame.index.isin(labels.index).all():
        raise UserError(f"{path} holds faces that labels.parquet lacks: predictions of another data set?")
    probabilities = frame[list(aus)].to_numpy(np.float64)
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise UserError(f"{path} holds values that are no probabilities (below 0, above 1 or NaN)")
    known = labels.loc[frame.index]
    return Predictions(
        sample_id=frame.index.to_numpy(np.int64),
        subject=known["subject"].astype(str).to_numpy(object),
        hidden=frame["hidden"].to_numpy(np.float64),
        aus=aus,
        probabilities=probabilities,
        labels=known[list(aus)].to_numpy(np.int8),
    )


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


def macro_table(results: pd.DataFrame) -> list[Table]:
    """Terminal tables, one per experiment and kind: method x severity, macro-AUROC, macro-F1 and the floor.

    Figures are means over folds and seeds of the per-run macro value. The always-positive floor is the last
    row of the F1 half. Fits 100 columns for the protocol's ladder.
    """
    macro = with_shared_clean(results[results["au"] == "macro"])
    grouped = macro.groupby(["experiment", "dataset", "kind"], sort=False)
    return [
        _kind_table(f"{experiment} · {dataset} · {kind}", rows)
        for (experiment, dataset, kind), rows in grouped
    ]


def _kind_table(title: str, rows: pd.DataFrame) -> Table:
    severities = sorted(rows["severity"].unique())
    runs = len(rows[["fold", "seed"]].drop_duplicates())
    caption = f"mean of {runs} runs (folds × seeds)" if runs > 1 else None
    table = Table(
        title=title, caption=caption, box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0)
    )
    table.add_column("hidden\nmethod", no_wrap=True)
    table.add_column("\nmask", no_wrap=True)
    for metric in ("AUROC", "F1"):
        for i, severity in enumerate(severities):
            table.add_column(
                f"{metric if i == 0 else ''}\n{_short(severity, 2)}", justify="right", no_wrap=True
            )
    means = rows.groupby(["method", "mask_source", "severity"])[["auroc", "f1", "floor_f1"]].mean()
    pairs = sorted({(m, s) for m, s, _ in means.index}, key=lambda pair: method_key(*pair))
    for method, mask_source in pairs:
        own = means.loc[method, mask_source].reindex(severities)
        mask = "" if mask_source == "none" else mask_source
        table.add_row(method, mask, *(_short(v) for v in own["auroc"]), *(_short(v) for v in own["f1"]))
    floor = means.groupby("severity")["floor_f1"].mean()
    blank = [""] * len(severities)
    table.add_row("always positive", "", *blank, *(_short(floor[s]) for s in severities), style="dim")
    return table


def _short(value: float, digits: int = 3) -> str:
    """.123 for 0.123; a dash for what is undefined or was not measured."""
    return "–" if np.isnan(value) else f"{value:.{digits}f}".removeprefix("0")


def _place(name: str, order: tuple[str, ...]) -> tuple[int, str]:
    return (order.index(name), "") if name in order else (len(order), name)
