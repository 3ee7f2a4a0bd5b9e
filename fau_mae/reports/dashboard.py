"""`fau-mae dashboard`: a W&B workspace that compares methods over occlusion levels, built from finished runs.

It shows the `evaluate` runs that `fau-mae run` logs (reports/wandb_curves.py): each method's AUROC and F1 against the
hidden share, with mean and range over folds and seeds; the action units; faces; the results table.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from data_modules.errors import UserError
from data_modules.files import check_file, write_json
from fau_mae import tracking
from fau_mae.evaluation.names import CLEAN_KIND, METRIC_TITLES, kind_key, method_key
from fau_mae.evaluation.scored_run import read_results
from fau_mae.reports.wandb_curves import CURVES, may_show, method_label

try:
    import wandb_workspaces.reports.v2 as panels
    import wandb_workspaces.workspaces as workspaces
    from wandb_workspaces import expr
except ImportError as error:
    raise UserError(
        f"a dashboard needs wandb-workspaces ({error}): pip install 'fau-mae[dashboard]'"
    ) from error

OVER_RUNS: dict[str, Any] = {"groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"}  # over folds and seeds


def make_dashboard(
    runs: Sequence[Path], entity: str | None, project: str, name: str, spec: Path | None
) -> None:
    """Save the workspace at W&B and print its address; or write what would be sent to `spec` and contact nobody.

    Raises:
        UserError: a folder without results, or no key to W&B.
    """
    if spec is not None:
        check_file(spec, runs)
    results = pd.concat([read_results(run) for run in runs], ignore_index=True)
    if spec is not None:
        workspace = build_workspace(results, entity or os.environ.get("WANDB_ENTITY", ""), project, name)
        write_json(spec, specification(workspace))
        print(f"{spec}: {len(workspace.sections)} sections; nothing was sent")
        return
    if tracking.is_offline():
        raise UserError(
            "a dashboard lives at W&B: set WANDB_API_KEY (and no WANDB_MODE=offline) and sync the runs first, or write "
            "its specification with --spec FILE; `fau-mae report` compares runs and needs nothing"
        )
    import wandb

    entity = entity or os.environ.get("WANDB_ENTITY") or wandb.Api().default_entity or ""
    workspace = build_workspace(results, entity, project, name)
    workspace.save()
    print(workspace.url)


def build_workspace(results: pd.DataFrame, entity: str, project: str, name: str) -> workspaces.Workspace:
    """One section per kind of occlusion, then action units, scores on validation people, and the table."""
    pairs = sorted(set(zip(results["method"], results["mask_source"])), key=lambda pair: method_key(*pair))
    methods = [method_label(*pair) for pair in pairs]
    kinds = sorted(set(results["kind"]) - {CLEAN_KIND}, key=kind_key)
    aus = [au for au in results["au"].unique() if au != "macro"]
    faces = any(map(may_show, results["dataset"].unique()))
    sections = [_kind_section(kind, methods, faces) for kind in kinds]
    sections.append(
        workspaces.Section(
            "Action units: AUROC, mean over occlusions",
            [_bars(au, [f"au/{method}/{au}" for method in methods]) for au in aus],
        )
    )
    validation = [f"val/{method}/auroc" for method in methods]
    sections.append(
        workspaces.Section("Validation people: AUROC, mean over the ladder", [_bars("all", validation)])
    )
    table = panels.WeavePanelSummaryTable(table_name="results", layout=panels.Layout(w=24, h=12))
    sections.append(workspaces.Section("Results", [table], is_open=True))
    experiments = sorted(results["experiment"].unique())
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=sections,
        settings=workspaces.WorkspaceSettings(x_axis="occlusion/severity", x_min=0, x_max=1, max_runs=100),
        runset_settings=workspaces.RunsetSettings(
            filters=[
                expr.Metric("JobType") == "evaluate",
                expr.Config("experiment").isin(experiments),
            ],
            groupby=[expr.Config("experiment"), expr.Config("fold"), expr.Config("seed")],
            pinned_columns=["run:displayName", *(f"summary:{score}" for score in validation)],
        ),
    )


def _kind_section(kind: str, methods: Sequence[str], faces: bool) -> workspaces.Section:
    shown: list[Any] = [
        panels.LinePlot(
            title=f"{METRIC_TITLES[metric]}, {kind}",
            x="occlusion/severity",
            y=[f"occlusion/{kind}/{method}/{metric}" for method in methods],
            range_x=(0, 1),
            title_x="hidden share of the face",
            title_y=METRIC_TITLES[metric],
            groupby=panels.Config("experiment"),
            layout=panels.Layout(w=12, h=8),
            **OVER_RUNS,
        )
        for metric in CURVES
    ]
    if faces:
        shown.append(
            panels.MediaBrowser(
                title=f"faces, {kind}",
                media_keys=[f"occlusion/{kind}/faces"],
                gallery_axis="step",
                layout=panels.Layout(w=24, h=8),
            )
        )
    return workspaces.Section(f"Occlusion: {kind}", shown, is_open=True)


def _bars(title: str, scores: Sequence[str]) -> panels.BarPlot:
    return panels.BarPlot(
        title=title, metrics=list(scores), groupby=panels.Config("experiment"), range_x=(0, 1), **OVER_RUNS
    )


def specification(workspace: workspaces.Workspace) -> dict[str, Any]:
    """The workspace as W&B's server would be sent it."""
    return json.loads(workspace._to_model().model_dump_json(by_alias=True, exclude_none=True))
