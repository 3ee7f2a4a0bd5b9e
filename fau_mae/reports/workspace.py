"""What the W&B workspace of `fau-mae dashboard` holds. Needs wandb-workspaces."""

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd
import wandb_workspaces.reports.v2 as panels
import wandb_workspaces.workspaces as workspaces
from wandb_workspaces import expr
from wandb_workspaces.utils.validators import validate_no_emoji

from data_modules.errors import UserError
from fau_mae.evaluation.names import CLEAN_KIND, METRIC_TITLES, kind_key, method_key
from fau_mae.reports.wandb_curves import CURVES, may_show, method_label

OVER_RUNS: dict[str, Any] = {"groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"}  # over folds and seeds


def check_name(name: str) -> None:
    """Raises `UserError` for a name of a workspace that W&B does not take."""
    try:
        validate_no_emoji(name)
    except ValueError:
        raise UserError(f"--name {name!r}: W&B takes no emoji and no sign such as + or € in it") from None


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
    names = sorted(results["run_name"].unique())
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=sections,
        settings=workspaces.WorkspaceSettings(x_axis="occlusion/severity", x_min=0, x_max=1, max_runs=100),
        runset_settings=workspaces.RunsetSettings(
            filters=[
                expr.Metric("JobType") == "evaluate",
                expr.Config("run_name").isin(names),
            ],
            groupby=[expr.Config("run_name"), expr.Config("fold"), expr.Config("seed")],
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
            groupby=panels.Config("run_name"),
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
        title=title, metrics=list(scores), groupby=panels.Config("run_name"), range_x=(0, 1), **OVER_RUNS
    )


def specification(workspace: workspaces.Workspace) -> dict[str, Any]:
    """The workspace as W&B's server would be sent it."""
    return json.loads(workspace._to_model().model_dump_json(by_alias=True, exclude_none=True))
