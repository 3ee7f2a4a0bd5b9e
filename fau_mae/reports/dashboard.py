"""`fau-mae dashboard`: a W&B workspace that compares methods over occlusion levels, built from finished runs.

It shows the `evaluate` runs that `fau-mae run` logs (reports/wandb_curves.py): each method's AUROC and F1 against the
hidden share, with mean and range over folds and seeds; the action units; faces; the results table. Runs are told apart
by the names of their folders, or by `run --name`: of one experiment there may be several.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from data_modules.errors import UserError
from data_modules.files import check_file, check_ours, read_json, write_json
from fau_mae import tracking
from fau_mae.evaluation.scored_run import read_results
from fau_mae.run_folder import name_of, read_memory


def make_dashboard(
    runs: Sequence[Path], entity: str | None, project: str, name: str, spec: Path | None
) -> None:
    """Save the workspace at W&B and print its address; or write what would be sent to `spec` and contact nobody.

    Raises:
        UserError: wandb-workspaces is missing, a folder has no results, or there is no key to W&B.
    """
    if spec is not None:
        check_file(spec, runs)
        check_ours(spec, lambda path: {"displayName", "spec"} <= read_json(path).keys())
    try:
        from fau_mae.reports.workspace import build_workspace, check_name, specification
    except ImportError as error:
        raise UserError(
            f"a dashboard needs wandb-workspaces ({error}): pip install 'fau-mae[dashboard]'"
        ) from error
    check_name(name)
    tables = {run: read_results(run) for run in runs}
    names = [_name(run) for run in tables]
    if twice := [called for called in names if names.count(called) > 1]:
        raise UserError(
            f"two runs are called {twice[0]}, and W&B would show their mean: rename a folder, or run it with --name"
        )
    results = pd.concat(
        [table.assign(run_name=called) for table, called in zip(tables.values(), names)], ignore_index=True
    )
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


def _name(run: Path) -> str:
    """As the run's evaluations say in their W&B config."""
    memory = read_memory(run)
    return name_of(run, memory.label if memory is not None else "")
