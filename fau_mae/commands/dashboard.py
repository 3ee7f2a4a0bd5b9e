"""`fau-mae dashboard`: a W&B workspace over finished runs."""

import argparse
from contextlib import nullcontext
from pathlib import Path

from data_modules.locks import locked
from fau_mae.commands.parser import Commands, add_command, plain_name


def add(commands: Commands) -> None:
    """Add `dashboard` to the command line."""
    dashboard = add_command(
        commands,
        "dashboard",
        _dashboard,
        "a W&B workspace that compares methods over occlusion levels",
        locks=False,
    )
    dashboard.add_argument(
        "runs", type=Path, nargs="+", help="folders that `fau-mae run` made, synced to W&B"
    )
    dashboard.add_argument(
        "--entity", type=plain_name, default=None, help="W&B user or team (default: WANDB_ENTITY, else yours)"
    )
    dashboard.add_argument(
        "--project", type=plain_name, default=None, help="(default: WANDB_PROJECT, else fau_mae)"
    )
    dashboard.add_argument("--name", type=plain_name, default="Occlusion", help="of the workspace")
    dashboard.add_argument(
        "--spec", type=Path, default=None, help="write the specification to this JSON file and send nothing"
    )


def _dashboard(options: argparse.Namespace) -> None:
    from fau_mae import tracking
    from fau_mae.reports.dashboard import make_dashboard

    project = options.project or tracking.project()
    with locked(options.spec) if options.spec else nullcontext():
        make_dashboard(options.runs, options.entity, project, options.name, options.spec)
