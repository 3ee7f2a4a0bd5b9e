"""`fau-mae run`: all stages of an experiment, or one of them, then the occlusion ladder and the report."""

import argparse
from pathlib import Path

from fau_mae.commands.parser import Commands, add_command, numbers


def add(commands: Commands) -> None:
    """Add `run` to the command line."""
    about = "all stages of an experiment, then the occlusion ladder and the report"
    run = add_command(commands, "run", _run, about, locks=False)  # runs of different folds share a folder
    run.add_argument("experiment", help="a built-in name (quickstart, …) or a folder with experiment.yaml")
    run.add_argument("--out", type=Path, default=None, help="folder of the run (default: runs/EXPERIMENT)")
    run.add_argument("--store", type=Path, default=None, help="use this store instead of preparing one")
    run.add_argument(
        "--folds", type=numbers("--folds"), default=None, help="such as 1,2,3 (default: the experiment's)"
    )
    run.add_argument(
        "--seeds", type=numbers("--seeds"), default=None, help="such as 0,1,2 (default: the experiment's)"
    )
    run.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="override settings, e.g. trainer.max_epochs=1",
    )
    run.add_argument("--root", type=Path, default=None, help="raw files of a licensed data set (bp4d, disfa)")
    run.add_argument(
        "--mae",
        type=Path,
        default=None,
        help="start from these weights, a file or shipped:autoencoder; leaves the pre-training stage out",
    )
    run.add_argument("--ablate", action="store_true", help="train and test the experiment's ablations too")
    run.add_argument(
        "--stage", default=None, help="train this stage alone; what it takes must be trained already"
    )
    run.add_argument(
        "--dry-run",
        action="store_true",
        help="print what is done, what would resume, and each stage's command",
    )


def _run(options: argparse.Namespace) -> None:
    from fau_mae.runs.runner import Request, run_experiment

    request = Request(
        options.experiment,
        options.out,
        options.store,
        options.folds,
        options.seeds,
        options.set,
        root=options.root,
        mae=options.mae,
        ablate=options.ablate,
        stage=options.stage,
    )
    run_experiment(request, dry=options.dry_run)
