"""The table a paper prints: macro-F1 and macro-AUROC as mean over folds and seeds, each fold, each seed, interval."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from fau_mae.evaluation.scoring import CLEAN_KIND, kind_key, method_key
from fau_mae.evaluation.statistics import METRICS, MethodKey, bootstrap, interval

ALL = "mean"  # in place of a severity: the mean over the severities above 0


def fold_scores(run: Path, results: pd.DataFrame) -> pd.DataFrame:
    """One row per method × mask source × kind × severity × metric, from a run's results and stored predictions.

    Columns: `mean` over folds and seeds, `low` and `high` of its 95 % interval (people resampled, see
    `statistics`), `fold<k>` = mean over that fold's seeds, `seed<s>` = mean over that seed's folds. Severity is a
    number or `mean`: over the severities above 0, for methods that were swept at all of them.
    """
    macro = results[results["au"] == "macro"]
    keys = ["method", "mask_source", "kind", "severity", "fold", "seed"]
    macro = macro[keys + list(METRICS)].astype({"severity": object})
    curves = bootstrap(run, results)
    whole = [curves.covers(MethodKey(*key[:2]), key[2]) for key in zip(*(macro[key] for key in keys[:3]))]
    over = macro[whole].groupby([k for k in keys if k != "severity"], as_index=False)
    macro = pd.concat([macro, over[list(METRICS)].mean().assign(severity=ALL)], ignore_index=True)
    rows: list[dict[str, Any]] = []
    for (method, mask, kind, severity), cell in macro.groupby(keys[:4], sort=False):
        own = MethodKey(method, mask)
        for metric in METRICS:
            samples = (
                curves.mean(own, kind, metric) if severity == ALL else curves.at(own, kind, severity, metric)
            )
            found = interval(samples)
            rows.append(
                {
                    **dict(zip(keys[:4], (method, mask, kind, severity))),
                    "metric": metric,
                    "mean": cell[metric].mean(),
                    "low": found.low,
                    "high": found.high,
                    **{f"fold{fold}": part[metric].mean() for fold, part in cell.groupby("fold")},
                    **{f"seed{seed}": part[metric].mean() for seed, part in cell.groupby("seed")},
                }
            )
    return pd.DataFrame(rows)


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


def _figure(value: float) -> str:
    """A dash for what was not measured, such as an ablation in another seed."""
    return "–" if np.isnan(value) else f"{value:.3f}"


def _order(row: dict) -> tuple:
    return (kind_key(row["kind"]), method_key(row["method"], row["mask_source"]))
