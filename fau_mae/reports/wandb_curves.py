"""The occlusion ladder of a run on W&B: curves over severity, scores per AU, the long table, faces with predictions."""

import json
import math
import os
from collections.abc import Collection, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import wandb
from PIL import Image

from data_modules.files import check_columns, read_parquet, reading, write_text
from fau_mae import tracking
from fau_mae.evaluation.scored_run import Pair, ScoredRun
from fau_mae.evaluation.scoring import with_shared_clean

CURVES = ("auroc", "f1")
FREE_DATASETS = ("synthetic",)  # whose pictures may leave the machine
LOGGED = "logged"  # a file of this name stands in the folder of an evaluation that W&B has


def method_label(method: str, mask_source: str) -> str:
    """`clean`, `student-oracle`, `student-blind`: the method, and where its mask comes from if it is told one."""
    return method if mask_source == "none" else f"{method}-{mask_source}"


def log_evaluation(run: ScoredRun, pair: Pair, config: Mapping[str, Any]) -> None:
    """One W&B run of job type `evaluate` for one fold and seed; once.

    Args:
        pair: which; the W&B run's files go to `evaluate/` in its folder.
        config: settings to show with the run.

    Logged: `occlusion/<kind>/<method>/{auroc,f1}` and faces over `occlusion/severity`; in the summary
    `au/<method>/<AU>` (mean AUROC over occluded rungs) and `val/<method>/auroc`; the table `results`.
    """
    folder = run.folders[pair]
    done = folder / "evaluate" / LOGGED
    if done.exists() or tracking.mode() == "disabled":
        return
    own = (run.results["fold"] == pair[0]) & (run.results["seed"] == pair[1])
    results = run.results[own]
    experiment, dataset, fold, seed = results[["experiment", "dataset", "fold", "seed"]].iloc[0]
    kinds = [kind for kind in results["kind"].unique() if kind != "none"]
    logged = tracking.evaluation_run(
        folder / "evaluate",
        run.name,
        int(fold),
        int(seed),
        dataset,
        kinds,
        {"experiment": experiment} | _plain(config),
    )
    with logged:
        faces = _faces(folder) if may_show(dataset) else {}
        for step in curve_steps(results):
            pictures = faces.get(step["occlusion/severity"], {})
            logged.log({**step, **pictures})
        logged.log({"results": wandb.Table(dataframe=_with_labels(results))})
        logged.summary.update({**au_summary(results), **validation_scores(run, [pair])})
    write_text(done, "")


def curve_steps(results: pd.DataFrame) -> list[dict[str, float]]:
    """One record per severity, in rising order, with every method's macro figures under every kind."""
    macro = with_shared_clean(results[results["au"] == "macro"])
    steps = []
    for severity, rows in macro.groupby("severity", sort=True):
        step = {"occlusion/severity": float(severity)}
        for row in rows.itertuples():
            name = f"occlusion/{row.kind}/{method_label(row.method, row.mask_source)}"
            for metric in CURVES:
                value = float(getattr(row, metric))
                if math.isfinite(value):
                    step[f"{name}/{metric}"] = value
        steps.append(step)
    return steps


def au_summary(results: pd.DataFrame) -> dict[str, float]:
    """`au/<method>/<AU>`: AUROC of each action unit, mean over all occluded rungs."""
    rows = results[(results["au"] != "macro") & (results["severity"] > 0)]
    means = rows.groupby(["method", "mask_source", "au"], sort=False)["auroc"].mean().dropna()
    return {f"au/{method_label(method, mask)}/{au}": float(v) for (method, mask, au), v in means.items()}


def validation_scores(run: ScoredRun, pairs: Collection[Pair] | None = None) -> dict[str, float]:
    """`val/<method>/auroc`: macro AUROC on validation people, mean over the method's rungs, folds and seeds.

    What settings may be chosen by: no test face takes part. A method that was asked on some rungs only, such as
    `specialist`, is not to be compared with the others here.
    """
    values: dict[str, list[float]] = {}
    for pair in run.validation if pairs is None else pairs:
        for method, aurocs in run.validation[pair].items():
            values.setdefault(f"val/{method_label(*method)}/auroc", []).extend(aurocs)
    return {name: float(np.nanmean(found)) for name, found in values.items() if not np.isnan(found).all()}


def _with_labels(results: pd.DataFrame) -> pd.DataFrame:
    labels = [method_label(method, mask) for method, mask in zip(results["method"], results["mask_source"])]
    return results.assign(label=labels)


def may_show(dataset: str) -> bool:
    """Whether faces may be logged: rendered ones always, licensed ones only if the user says so."""
    return dataset in FREE_DATASETS or os.environ.get("FAU_MAE_LOG_FACES") == "1"


def _faces(folder: Path) -> dict[float, dict[str, list[wandb.Image]]]:
    """Example faces by severity and kind, each with what is true and what every method says above .5."""
    path = folder / "predictions" / "test" / "examples.parquet"
    if not path.exists():
        return {}
    faces: dict[float, dict[str, list[wandb.Image]]] = {}
    table = read_parquet(path)
    with reading(path):
        check_columns(table, ["kind", "probabilities", "labels", "jpeg"], ["severity"])
        for row in table.itertuples():
            with Image.open(BytesIO(row.jpeg)) as picture:
                image = wandb.Image(picture, caption=_caption(row))
            by_kind = faces.setdefault(float(row.severity), {})
            by_kind.setdefault(f"occlusion/{row.kind}/faces", []).append(image)
    return faces


def _caption(row: Any) -> str:
    lines = [
        "truth: " + (" ".join(au for au, label in json.loads(row.labels).items() if label == 1) or "none")
    ]
    for method, said in json.loads(row.probabilities).items():
        found = sorted((au for au, p in said.items() if p >= 0.5), key=said.__getitem__, reverse=True)
        lines.append(f"{method}: " + (" ".join(f"{au} {said[au]:.2f}" for au in found) or "none"))
    return "\n".join(lines)


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON values; paths as text."""
    return json.loads(json.dumps(dict(config), default=str))
