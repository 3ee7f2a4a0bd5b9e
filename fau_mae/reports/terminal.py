"""Tables for the terminal: methods by severity, and folds and seeds beside their mean."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from rich.progress import track
from rich.table import Table

from fau_mae.evaluation.curves import METRICS
from fau_mae.evaluation.fold_scores import ALL
from fau_mae.evaluation.names import CLEAN_KIND, kind_key, method_key
from fau_mae.evaluation.scoring import with_shared_clean


def watched(what: str) -> Callable[[Iterable[Any]], Iterable[Any]]:
    """What shows on the terminal how far a loop is, and is gone at its end."""
    return partial(track, description=what, transient=True)


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


def fold_table(scores: pd.DataFrame) -> list[Table]:
    """Terminal tables, one per metric: clean faces, and per kind the mean over the severities above 0."""
    parts = [column for column in scores.columns if column.startswith(("fold", "seed"))]
    tables = []
    for metric in sorted(METRICS):
        table = Table(
            title=f"macro-{metric.upper()}: clean, and mean over the occluded severities",
            caption="mean over folds and seeds, 95 % interval over people; each fold; each seed",
            box=None,
            header_style="bold",
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        for name in ("occlusion", "method", "mask"):
            table.add_column(name, no_wrap=True)
        for name in ("mean", "interval", *(f"{part[:4]} {part[4:]}" for part in parts)):
            table.add_column(name, justify="right", no_wrap=True)
        shown = scores[
            (scores["metric"] == metric) & ((scores["kind"] == CLEAN_KIND) | (scores["severity"] == ALL))
        ]
        for row in sorted(shown.to_dict("records"), key=_order):
            kind = "clean" if row["kind"] == CLEAN_KIND else row["kind"]
            mask = "" if row["mask_source"] == "none" else row["mask_source"]
            between = f"{_figure(row['low'])}–{_figure(row['high'])}"
            table.add_row(
                kind,
                row["method"],
                mask,
                _figure(row["mean"]),
                between,
                *(_figure(row[part]) for part in parts),
            )
        tables.append(table)
    return tables


def _short(value: float, digits: int = 3) -> str:
    """.123 for 0.123; a dash for what is undefined or was not measured."""
    return "–" if np.isnan(value) else f"{value:.{digits}f}".removeprefix("0")


def _figure(value: float) -> str:
    """A dash for what was not measured, such as an ablation in another seed."""
    return "–" if np.isnan(value) else f"{value:.3f}"


def _order(row: dict) -> tuple:
    return (kind_key(row["kind"]), method_key(row["method"], row["mask_source"]))
