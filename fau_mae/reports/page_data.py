"""What the report shows of one experiment, as plain JSON values; None stands for what is undefined."""

import base64
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_modules.files import check_columns, read_json, read_parquet, read_yaml, reading
from fau_mae.evaluation.comparison import difference_table, summary_table
from fau_mae.evaluation.curves import Curves, MethodKey
from fau_mae.evaluation.names import CLEAN_KIND, kind_key, method_key, stage_key
from fau_mae.evaluation.scored_run import CELL, ScoredRun
from fau_mae.evaluation.scoring import METRICS
from fau_mae.run_folder import read_logged, read_memory

CURVE_VALUES = 150_000  # points of training curves in one page, shared by its experiments
CURVE_POINTS = 200  # points kept of each training curve, where that many fit
EXAMPLE_BYTES = 4_000_000  # pictures in one page, shared by its experiments
EXAMPLES_PER_RUN = 4
_WITHOUT = "delete it: the page does without"


def experiment_data(run: ScoredRun, name: str, share: float) -> dict[str, Any]:
    """What the page shows of a run; without predictions it goes without intervals.

    Args:
        name: what it is called in the page.
        share: of the page's room for pictures and training curves, 0-1.
    """
    results, folders = run.results, run.folders
    first = next(iter(folders.values()))
    kinds = sorted((kind for kind in results["kind"].unique() if kind != CLEAN_KIND), key=kind_key)
    aus = [au for au in results["au"].unique() if au != "macro"]
    data = {
        "name": name,
        "datasets": sorted(results["dataset"].unique()),
        "protocol": sorted(int(version) for version in results["protocol_version"].unique()),
        "thresholds": sorted(results["threshold_rule"].unique()) if "threshold_rule" in results else [],
        "runs": [{"fold": fold, "seed": seed} for fold, seed in folders],
        "methods": _methods(results),
        "ablations": _ablations(run.folder),
        "kinds": kinds,
        "aus": aus,
        "scores": _scores(results, aus, list(folders)),
        "stages": _stages(list(folders.values()), round(CURVE_VALUES * share)),
        "mask_quality": _mask_quality(list(folders.values())),
        "examples": _examples(first, round(EXAMPLE_BYTES * share)),
    }
    return data | _prediction_data(run) if run.has_predictions else data


def _methods(results: pd.DataFrame) -> list[dict[str, str]]:
    found = set(zip(results["method"], results["mask_source"]))
    pairs = sorted(found, key=lambda pair: method_key(*pair))
    return [{"method": method, "mask": mask, "id": f"{method}-{mask}"} for method, mask in pairs]


def _ablations(experiment: Path) -> list[str]:
    """Methods that the page leaves out until they are asked for: a dozen near-equal lines hide the others."""
    memory = read_memory(experiment)
    return memory.ablations if memory else []


def _scores(results: pd.DataFrame, aus: list[str], pairs: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """A record per method and occlusion; each metric is a list: every AU, then macro; means over folds and seeds.

    `rate` and `t` (threshold) have no macro; `runs` holds the macro value of every (fold, seed) of `pairs`, None where
    the method was not measured.
    """
    columns = [*METRICS, "threshold", "positives", "n"]
    records = []
    for (method, mask, kind, severity), rows in results.groupby(CELL, sort=False):
        means = rows.groupby("au")[columns].mean().reindex([*aus, "macro"])
        runs = rows[rows["au"] == "macro"].set_index(["fold", "seed"]).reindex(pairs)
        record = {"m": f"{method}-{mask}", "k": kind, "s": severity}
        record |= {metric: _numbers(means[metric]) for metric in METRICS}
        record["rate"] = _numbers((means["positives"] / means["n"].clip(lower=1)).iloc[:-1])
        record["t"] = _numbers(means["threshold"].iloc[:-1])
        record["runs"] = {metric: _numbers(runs[metric]) for metric in METRICS}
        records.append(record)
    return records


def _prediction_data(run: ScoredRun) -> dict[str, Any]:
    """Intervals, hidden against visible AUs, reliability."""
    estimates = [
        {
            "m": f"{row.method}-{row.mask_source}",
            "k": row.kind,
            "s": _number(row.severity),
            "metric": row.metric,
            "v": _numbers((row.value, row.low, row.high)),
        }
        for row in summary_table(run.curves()).itertuples()
    ]
    regions = [
        {"m": f"{r.method}-{r.mask_source}", "k": r.kind, "s": r.severity}
        | {"hidden": _number(r.hidden_f1), "visible": _number(r.visible_f1)}
        for r in run.hidden_visible().itertuples()
    ]
    return {"estimates": estimates, "regions": regions, "reliability": _reliability(run)}


def differences(curves: dict[int, Curves]) -> list[dict[str, Any]]:
    """Each method of each experiment minus each later one.

    Records {a, b, gaps: {metric: {kind: [[severity, value, low, high]]}}}; `folds` beside them names
    the folds that could be compared, where these are not all of both. Methods are named
    `<number of the experiment>/<method>-<mask source>`; severity null is the mean over severities.
    """
    keys = [(number, own) for number, one in curves.items() for own in one.methods]
    found = []
    for i, (number, own) in enumerate(keys):
        for other, rival in keys[i + 1 :]:
            table = difference_table(curves[number], own, curves[other], rival)
            gaps: dict[str, dict[str, list]] = {}
            for row in table.itertuples():
                values = _numbers((row.severity, row.value, row.low, row.high))
                gaps.setdefault(row.metric, {}).setdefault(row.kind, []).append(values)
            if gaps:
                record: dict[str, Any] = {"a": _series(number, own), "b": _series(other, rival), "gaps": gaps}
                shared = curves[number].shared_folds(own, curves[other], rival)
                if not shared == curves[number].folds(own) == curves[other].folds(rival):
                    record["folds"] = shared
                found.append(record)
    return found


def _series(number: int, key: MethodKey) -> str:
    return f"{number}/{key.method}-{key.mask_source}"


def _reliability(run: ScoredRun) -> list[dict[str, Any]]:
    """Per cell and probability bin, over all AUs, folds and seeds: [mean probability, rate of positives]."""
    return [
        {
            "m": f"{m}-{mask}",
            "k": k,
            "s": s,
            "bins": [[_number(p / n), _number(y / n)] for n, p, y in bins if n],
        }
        for (m, mask, k, s), bins in run.reliability.items()
    ]


def _stages(folders: list[Path], room: int) -> list[dict[str, Any]]:
    """Training curves and cost of the stages of every fold and seed, with the settings of the first."""
    found = [(folder, config) for folder in folders for config in folder.glob("*/config.yaml")]
    found.sort(key=lambda pair: (folders.index(pair[0]), stage_key(pair[1].parent.name)))
    tables = [_training_table(config.with_name("metrics.csv")) for _, config in found]
    columns = sum(table.shape[1] - 1 for table in tables)
    points = max(20, min(CURVE_POINTS, room // max(columns, 1)))
    stages = []
    for (folder, config), table in zip(found, tables):
        settings = _settings(config) if folder == folders[0] else None
        stages.append(
            {
                "run": folder.name,
                "stage": config.parent.name,
                "settings": settings,
                "curves": _curves(table, points),
                "cost": _cost(config.with_name("cost.json")),
            }
        )
    return stages


def _settings(config: Path) -> dict[str, str]:
    values = read_yaml(config)
    with reading(config, "put a copy back, or delete it: the page then leaves that stage out"):
        if not isinstance(values, dict) or not values:
            raise ValueError("it holds no settings")
        return _flat(values)


def _cost(path: Path) -> dict[str, float | str]:
    """What a training took; empty where that is not said."""
    if not path.exists():
        return {}
    cost = read_json(path, _WITHOUT)
    with reading(path, _WITHOUT):
        for name, value in cost.items():
            if name != "device" and not (type(value) in (int, float) and math.isfinite(value)):
                raise ValueError(f"{name} is {value!r}")
        if not isinstance(cost.get("device", ""), str):
            raise ValueError("its device is no text")
    return cost


def _mask_quality(folders: list[Path]) -> list[dict[str, Any]]:
    """How well the masks of `blind` rows were estimated (see mask_quality.py), mean over the runs that say so."""
    paths = [folder / "predictions" / "test" / "mask_quality.parquet" for folder in folders]
    tables = [_quality_of(path) for path in paths if path.exists()]
    if not tables:
        return []
    means = pd.concat(tables).groupby(["kind", "severity"], sort=False, as_index=False).mean()
    return [
        {"k": row.kind, "s": row.severity, "auroc": _number(row.patch_auroc), "iou": _number(row.iou)}
        for row in means.itertuples()
    ]


def _quality_of(path: Path) -> pd.DataFrame:
    table = read_parquet(path)
    with reading(path):
        check_columns(table, ["kind"], ["severity", "patch_auroc", "iou"])
    return table


def _flat(settings: Any, prefix: str = "") -> dict[str, str]:
    """Nested settings as {"model.init_args.depth": "4", ...}."""
    if isinstance(settings, dict) and settings:
        items = (_flat(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in settings.items())
        return {key: value for part in items for key, value in part.items()}
    return {prefix: settings if isinstance(settings, str) else json.dumps(settings, default=str)}


def _training_table(path: Path) -> pd.DataFrame:
    """Lightning's sparse CSV: step and one column per metric that is a number."""
    table = read_logged(path, _WITHOUT)
    return table[["step", *table.select_dtypes(np.number).columns.difference(["step", "epoch"])]]


def _curves(table: pd.DataFrame, room: int) -> dict[str, list[tuple[float, float | None]]]:
    """{metric: [(step, value), ...]}, thinned to `room` points each; the last one stays."""
    curves = {}
    for metric in table.columns.drop("step"):
        points = table[["step", metric]].dropna()
        points = points.iloc[::-1].iloc[:: math.ceil(len(points) / room) or 1].iloc[::-1]
        if len(points):
            curves[metric] = [(float(step), _number(value)) for step, value in points.to_numpy()]
    return curves


def _examples(folder: Path, room: int) -> list[dict[str, Any]]:
    """Faces of `predictions/test/examples.parquet`, as many as fit into `room` bytes.

    Columns: kind, severity, sample_id, jpeg (bytes), reconstruction (a JPEG or None; older runs have no such
    column), and as JSON probabilities {method: {AU: p}}, where the method may carry its mask source
    (`student-blind`), and labels {AU: 1 / 0 / -1}.
    """
    path = folder / "predictions" / "test" / "examples.parquet"
    if not path.exists():
        return []
    table = read_parquet(path)
    with reading(path):
        return _chosen_examples(table, room)


def _chosen_examples(table: pd.DataFrame, room: int) -> list[dict[str, Any]]:
    check_columns(table, ["kind", "probabilities", "labels", "jpeg"], ["severity", "sample_id"])
    if "reconstruction" not in table:
        table["reconstruction"] = None
    size = table["jpeg"].map(len) + table["reconstruction"].map(lambda jpeg: len(jpeg or b""))
    weight = (size * 4 / 3).groupby(table["sample_id"], sort=False).sum().cumsum()
    chosen = weight.index[weight <= room][:EXAMPLES_PER_RUN]
    return [
        {
            "k": row.kind,
            "s": row.severity,
            "id": str(row.sample_id),
            "jpeg": base64.b64encode(row.jpeg).decode(),
            "filled": base64.b64encode(row.reconstruction or b"").decode(),
            "p": {
                m: {au: _number(p) for au, p in said.items()}
                for m, said in json.loads(row.probabilities).items()
            },
            "y": json.loads(row.labels),
        }
        for row in table[table["sample_id"].isin(chosen)].itertuples()
    ]


def _numbers(values: Iterable[float]) -> list[float | None]:
    return [_number(value) for value in values]


def _number(value: float) -> float | None:
    return None if not math.isfinite(value) else round(float(value), 4)
