"""What the report shows of one experiment, as plain JSON values; None stands for what is undefined."""

import base64
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from data_modules.errors import UserError
from fau_mae import metrics
from fau_mae.evaluation.regions import hidden_visible_table
from fau_mae.evaluation.scoring import CLEAN_KIND, METRICS, kind_key, method_key
from fau_mae.evaluation.statistics import (
    bootstrap,
    difference_table,
    run_folders,
    scored_cells,
    summary_table,
)

CURVE_POINTS = 200  # points kept of each training curve
EXAMPLES_PER_RUN = 4
STAGE_ORDER = ("pretrain", "teacher", "augmented", "dropped", "student", "specialist")
CELL = ["method", "mask_source", "kind", "severity"]


def experiment_data(experiment: Path, name: str) -> dict[str, Any]:
    """Everything the page needs of an experiment folder, under the name it is shown by.

    Raises:
        UserError: no `results.parquet`, or predictions that do not fit it.
    """
    path = experiment / "results.parquet"
    if not path.is_file():
        raise UserError(f"{experiment} holds no results.parquet: give the folder of a finished experiment")
    results = pd.read_parquet(path)
    folders = run_folders(experiment, results)
    first = next(iter(folders.values()))
    kinds = sorted((kind for kind in results["kind"].unique() if kind != CLEAN_KIND), key=kind_key)
    data = {
        "name": name,
        "datasets": sorted(results["dataset"].unique()),
        "protocol": sorted(int(version) for version in results["protocol_version"].unique()),
        "runs": [{"fold": fold, "seed": seed} for fold, seed in folders],
        "methods": _methods(results),
        "kinds": kinds,
        "aus": [au for au in results["au"].unique() if au != "macro"],
        "scores": _scores(results),
        "stages": [stage for folder in folders.values() for stage in _stages(folder, folder == first)],
        "examples": _examples(first),
    }
    if all((folder / "predictions" / "test").is_dir() for folder in folders.values()):
        data |= _from_predictions(experiment, results)
    return data


def _methods(results: pd.DataFrame) -> list[dict[str, str]]:
    found = set(zip(results["method"], results["mask_source"]))
    pairs = sorted(found, key=lambda pair: method_key(*pair))
    return [{"method": method, "mask": mask, "id": f"{method}-{mask}"} for method, mask in pairs]


def _scores(results: pd.DataFrame) -> list[dict[str, Any]]:
    """A record per method, occlusion and AU: mean over folds and seeds; for `macro` each run's value too."""
    records = []
    for (method, mask, kind, severity, au), rows in results.groupby([*CELL, "au"], sort=False):
        record = {"m": f"{method}-{mask}", "k": kind, "s": severity, "au": au}
        record |= {metric: _number(rows[metric].mean()) for metric in METRICS}
        if au == "macro":
            ordered = rows.sort_values(["fold", "seed"])
            record["runs"] = {metric: [_number(v) for v in ordered[metric]] for metric in METRICS}
        else:
            record["rate"] = _number(rows["positives"].sum() / max(rows["n"].sum(), 1))
            record["t"] = _number(rows["threshold"].mean())
        records.append(record)
    return records


def _from_predictions(experiment: Path, results: pd.DataFrame) -> dict[str, Any]:
    """Intervals, paired differences, hidden against visible AUs, reliability."""
    curves = bootstrap(experiment, results)
    differences = [
        {"m": f"{method}-{mask}", "rival": f"{row.rival}-{row.rival_mask}", "k": row.kind, **_estimate(row)}
        for method, mask in curves.methods
        for row in difference_table(curves, method, mask).itertuples()
    ]
    estimates = [
        {"m": f"{row.method}-{row.mask_source}", "k": row.kind, **_estimate(row)}
        for row in summary_table(curves).itertuples()
    ]
    regions = [
        {"m": f"{r.method}-{r.mask_source}", "k": r.kind, "s": r.severity}
        | {"hidden": _number(r.hidden_f1), "visible": _number(r.visible_f1)}
        for r in hidden_visible_table(experiment, results).itertuples()
    ]
    return {
        "estimates": estimates,
        "differences": differences,
        "regions": regions,
        "reliability": _reliability(experiment, results),
    }


def _estimate(row: Any) -> dict[str, Any]:
    return {
        "s": _number(row.severity),
        "metric": row.metric,
        "v": [_number(v) for v in (row.value, row.low, row.high)],
    }


def _reliability(experiment: Path, results: pd.DataFrame) -> list[dict[str, Any]]:
    """Per cell and probability bin, over all AUs, folds and seeds: [mean probability, rate of positives]."""
    sums: dict[tuple[str, str, float], Any] = {}
    for scored in scored_cells(experiment, results):
        method, mask, kind, severity, _ = scored.cell
        bins = metrics.reliability_bins(scored.faces.probabilities, scored.faces.labels)
        key = (f"{method}-{mask}", kind, severity)
        sums[key] = sums.get(key, 0) + bins
    return [
        {"m": m, "k": k, "s": s, "bins": [[_number(p / n), _number(y / n)] for n, p, y in bins if n]}
        for (m, k, s), bins in sums.items()
    ]


def _stages(folder: Path, settings: bool) -> list[dict[str, Any]]:
    """Settings (if asked), training curves and cost of the stages of one fold and seed."""
    stages = []
    for config in sorted(folder.glob("*/config.yaml"), key=lambda path: _stage_key(path.parent.name)):
        cost = config.with_name("cost.json")
        stages.append(
            {
                "run": folder.name,
                "stage": config.parent.name,
                "settings": _flat(yaml.safe_load(config.read_text()) or {}) if settings else None,
                "curves": _curves(config.with_name("metrics.csv")),
                "cost": json.loads(cost.read_text()) if cost.is_file() else {},
            }
        )
    return stages


def _stage_key(stage: str) -> tuple[int, str]:
    return (STAGE_ORDER.index(stage), "") if stage in STAGE_ORDER else (len(STAGE_ORDER), stage)


def _flat(settings: Any, prefix: str = "") -> dict[str, str]:
    """Nested settings as {"model.init_args.depth": "4", ...}."""
    if isinstance(settings, dict) and settings:
        items = (_flat(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in settings.items())
        return {key: value for part in items for key, value in part.items()}
    return {prefix: settings if isinstance(settings, str) else json.dumps(settings, default=str)}


def _curves(path: Path) -> dict[str, list[tuple[float, float | None]]]:
    """{metric: [(step, value), ...]} of Lightning's sparse CSV, thinned to `CURVE_POINTS` points each."""
    if not path.is_file() or not path.stat().st_size:
        return {}
    table = pd.read_csv(path)
    curves = {}
    for metric in table.select_dtypes(np.number).columns.difference(["step", "epoch"]):
        points = table[["step", metric]].dropna()
        points = points.iloc[:: math.ceil(len(points) / CURVE_POINTS) or 1]
        if len(points):
            curves[metric] = [(float(step), _number(value)) for step, value in points.to_numpy()]
    return curves


def _examples(folder: Path) -> list[dict[str, Any]]:
    """Faces of `predictions/test/examples.parquet`.

    Columns: kind, severity, sample_id, jpeg (bytes), and as JSON probabilities {method: {AU: p}}, where the
    method may carry its mask source (`student-blind`), and labels {AU: 1 / 0 / -1}.
    """
    path = folder / "predictions" / "test" / "examples.parquet"
    if not path.is_file():
        return []
    table = pd.read_parquet(path)
    chosen = table["sample_id"].drop_duplicates().iloc[:EXAMPLES_PER_RUN]
    return [
        {
            "k": row.kind,
            "s": row.severity,
            "id": str(row.sample_id),
            "jpeg": base64.b64encode(row.jpeg).decode(),
            "p": {
                m: {au: _number(p) for au, p in said.items()}
                for m, said in json.loads(row.probabilities).items()
            },
            "y": json.loads(row.labels),
        }
        for row in table[table["sample_id"].isin(chosen)].itertuples()
    ]


def _number(value: float) -> float | None:
    return None if not math.isfinite(value) else round(float(value), 4)
