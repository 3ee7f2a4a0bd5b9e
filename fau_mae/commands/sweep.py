"""`fau-mae sweep` and `fau-mae dashboard`: their options."""

import argparse
from pathlib import Path

from data_modules.errors import UserError
from fau_mae.commands.prepare import AddCommand


def add_sweep(commands: argparse._SubParsersAction, add_command: AddCommand) -> None:
    """Add `sweep` to the command line."""
    sweep = add_command(commands, "sweep", _sweep, "the trials of a W&B sweep file, on Ray Tune; resumable")
    sweep.add_argument(
        "file", type=Path, help="a W&B sweep file, such as experiments/sweeps/distillation.yaml"
    )
    sweep.add_argument(
        "--out",
        type=Path,
        default=None,
        help="folder of the sweep (default: what the file's --out begins with)",
    )
    sweep.add_argument("--trials", type=int, default=None, help="how many (default: the file's run_cap)")
    sweep.add_argument(
        "--address", default=None, help="of a Ray cluster, or auto (default: this machine alone)"
    )
    sweep.add_argument("--cpus-per-trial", type=float, default=1, help="cores that one trial takes up")
    sweep.add_argument(
        "--gpus-per-trial", type=float, default=None, help="(default: 1 where there are any, else 0)"
    )
    sweep.add_argument(
        "--no-evaluate",
        action="store_true",
        help="only train: leave out the occlusion ladder that follows a stage",
    )


def _sweep(options: argparse.Namespace) -> None:
    from fau_mae.sweeps import sweep_file
    from fau_mae.sweeps.results import summarise

    sweep = sweep_file.load_sweep(options.file, options.out, options.trials)
    sweep_file.claim_folder(sweep, options.file)
    if sweep_file.is_done(sweep):
        print(f"{sweep.name}: everything is done already")
        summarise(sweep)
        return
    try:
        from fau_mae.sweeps.ray_tune import run_trials
    except ImportError as error:
        raise UserError(
            f"sweeps need Ray and Optuna ({error}): pip install 'fau-mae[sweep]', or wandb sweep {options.file}"
        ) from error
    run_trials(
        sweep, options.address, options.cpus_per_trial, options.gpus_per_trial, not options.no_evaluate
    )
    summarise(sweep)


def add_dashboard(commands: argparse._SubParsersAction, add_command: AddCommand) -> None:
    """Add `dashboard` to the command line."""
    dashboard = add_command(
        commands, "dashboard", _dashboard, "a W&B workspace that compares methods over occlusion levels"
    )
    dashboard.add_argument(
        "runs", type=Path, nargs="+", help="folders that `fau-mae run` made, synced to W&B"
    )
    dashboard.add_argument(
        "--entity", default=None, help="W&B user or team (default: WANDB_ENTITY, else yours)"
    )
    dashboard.add_argument("--project", default=None, help="(default: WANDB_PROJECT, else fau_mae)")
    dashboard.add_argument("--name", default="Occlusion", help="of the workspace")
    dashboard.add_argument(
        "--spec", type=Path, default=None, help="write the specification to this JSON file and send nothing"
    )


def _dashboard(options: argparse.Namespace) -> None:
    from fau_mae import tracking
    from fau_mae.reports.dashboard import make_dashboard

    project = options.project or tracking.project()
    make_dashboard(options.runs, options.entity, project, options.name, options.spec)
