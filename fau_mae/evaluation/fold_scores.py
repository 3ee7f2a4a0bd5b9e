"""The table a paper prints: macro-F1 and macro-AUROC as mean over folds and seeds, each fold, each seed, interval."""

from typing import Any

import pandas as pd

from fau_mae.evaluation.curves import METRICS, MethodKey, interval
from fau_mae.evaluation.scored_run import ScoredRun

ALL = "mean"  # in place of a severity: the mean over the severities above 0


def fold_scores(run: ScoredRun) -> pd.DataFrame:
    """One row per method × mask source × kind × severity × metric, of a run.

    Columns: `mean` over folds and seeds, `low` and `high` of its 95 % interval (people resampled, see
    `Bootstrap`), `fold<k>` = mean over that fold's seeds, `seed<s>` = mean over that seed's folds. Severity is a
    number or `mean`: over the severities above 0, for methods that were asked at all of them.
    """
    macro = run.results[run.results["au"] == "macro"]
    keys = ["method", "mask_source", "kind", "severity", "fold", "seed"]
    macro = macro[keys + list(METRICS)].astype({"severity": object})
    curves = run.curves()
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
