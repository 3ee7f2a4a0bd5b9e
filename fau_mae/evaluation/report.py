"""One self-contained HTML page from finished experiments: tables, curves, heat maps, faces, settings.

The page is a template (report_template/) with the data as JSON inside; its script draws the charts as SVG. It
loads nothing from anywhere.
"""

import base64
import json
import math
import re
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from rich.progress import track

from data_modules.errors import UserError
from data_modules.facs import AUS
from fau_mae import __version__
from fau_mae.evaluation.scoring import CLEAN_KIND, METRICS, kind_key, method_key

CURVE_POINTS = 200  # points kept of each training curve
EXAMPLES_PER_RUN = 4
STAGE_ORDER = ("pretrain", "teacher", "augmented", "dropped", "student", "specialist")

_RUN_FOLDER = re.compile(r"fold(\w+)-seed(\d+)")


def write_report(runs: list[Path], out: Path) -> None:
    """Compare experiments in one HTML file.

    Args:
        runs: experiment folders, each with `results.parquet` and `fold<k>-seed<s>` folders beside it.
        out: the file to write; replaced as a whole once the page is ready.

    Raises:
        UserError: a folder holds no results.
    """
    names = _distinct_names(runs)
    experiments = [_experiment(run, names[run]) for run in track(runs, "Report", transient=True)]
    page = {
        "version": __version__,
        "experiments": experiments,
        "aus": {f"AU{n}": au.name for n, au in AUS.items()},
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(out.name + ".partial")
    aside.write_text(_render(page), encoding="utf-8")
    aside.replace(out)


def read_results(run: Path) -> pd.DataFrame:
    """`results.parquet` of an experiment folder; UserError where there is none."""
    path = run / "results.parquet"
    if not path.is_file():
        raise UserError(f"{run} holds no results.parquet: give the folder of a finished experiment")
    return pd.read_parquet(path)


def run_folders(run: Path) -> list[Path]:
    """The fold × seed folders of an experiment, or the folder itself where predictions lie right in it."""
    folders = [path for path in sorted(run.iterdir()) if _RUN_FOLDER.fullmatch(path.name)]
    return folders or [run]


def _experiment(run: Path, name: str) -> dict[str, Any]:
    results = read_results(run)
    folders = run_folders(run)
    return {
        "name": name,
        "datasets": sorted(results["dataset"].unique()),
        "protocol": sorted(int(v) for v in results["protocol_version"].unique()),
        "runs": [{"fold": _plain(f), "seed": _plain(s)} for f, s in _fold_seeds(results)],
        "methods": _methods(results),
        "kinds": sorted((k for k in results["kind"].unique() if k != CLEAN_KIND), key=kind_key),
        "aus": [au for au in results["au"].unique() if au != "macro"],
        "scores": _scores(results),
        "stages": [stage for folder in folders for stage in _stages(folder, settings=folder == folders[0])],
        "examples": _examples(folders[0]),
    }


def _fold_seeds(results: pd.DataFrame) -> list[tuple[Any, Any]]:
    return sorted(set(zip(results["fold"], results["seed"])))


def _methods(results: pd.DataFrame) -> list[dict[str, str]]:
    pairs = sorted(set(zip(results["method"], results["mask_source"])), key=lambda pair: method_key(*pair))
    return [{"method": method, "mask": mask, "id": f"{method}-{mask}"} for method, mask in pairs]


def _scores(results: pd.DataFrame) -> list[dict[str, Any]]:
    """One record per method × kind × severity × AU: mean over folds and seeds, and each run's macro values."""
    records = []
    keys = ["method", "mask_source", "kind", "severity", "au"]
    for (method, mask, kind, severity, au), rows in results.groupby(keys, sort=False):
        record = {"m": f"{method}-{mask}", "k": kind, "s": severity, "au": au}
        record |= {metric: _rounded(rows[metric].mean()) for metric in METRICS}
        if au != "macro":
            record |= {"rate": _rounded(rows["positives"].sum() / max(rows["n"].sum(), 1))}
            record |= {"t": _rounded(rows["threshold"].mean())}
        else:
            record["runs"] = {
                metric: [_rounded(v) for v in rows.sort_values(["fold", "seed"])[metric]]
                for metric in METRICS
            }
        records.append(record)
    return records


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
    """{metric: [[step, value], ...]} of Lightning's sparse CSV, thinned to `CURVE_POINTS` points each."""
    if not path.is_file() or not path.stat().st_size:
        return {}
    table = pd.read_csv(path)
    curves = {}
    for metric in [c for c in table.columns if c not in ("step", "epoch") and table[c].dtype.kind in "fi"]:
        points = table[["step", metric]].dropna()
        points = points.iloc[:: math.ceil(len(points) / CURVE_POINTS) or 1]
        if len(points):
            curves[metric] = [(float(step), _rounded(value)) for step, value in points.to_numpy()]
    return curves


def _examples(folder: Path) -> list[dict[str, Any]]:
    """Faces of `examples.parquet`: kind, severity, sample_id, jpeg, and JSON of probabilities and labels."""
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
                m: {au: round(p, 3) for au, p in said.items()}
                for m, said in json.loads(row.probabilities).items()
            },
            "y": json.loads(row.labels),
        }
        for row in table[table["sample_id"].isin(chosen)].itertuples()
    ]


def _render(page: dict[str, Any]) -> str:
    template = resources.files("fau_mae.evaluation") / "report_template"
    # "<" is escaped so that no text from a run can close the script element.
    data = json.dumps(page, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    html = (template / "report.html").read_text(encoding="utf-8")
    parts = {"css": (template / "report.css").read_text("utf-8"), "js": _scripts(template), "data": data}
    return re.sub(r"\{\{(css|js|data)\}\}", lambda slot: parts[slot[1]], html)


def _scripts(template: Any) -> str:
    return "\n".join((template / name).read_text("utf-8") for name in ("charts.js", "report.js"))


def _distinct_names(runs: list[Path]) -> dict[Path, str]:
    """Folder names, with the parent's name in front where two experiments share one."""
    names = [run.resolve().name for run in runs]
    return {
        run: name if names.count(name) == 1 else f"{run.resolve().parent.name}/{name}"
        for run, name in zip(runs, names)
    }


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 4)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
