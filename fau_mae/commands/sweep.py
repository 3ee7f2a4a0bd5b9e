"""`fau-mae sweep`: the trials of a sweep file."""

import argparse
import math
from pathlib import Path

from data_modules.errors import UserError
from data_modules.locks import locked
from fau_mae.commands.parser import Commands, add_command
from fau_mae.sweeps import sweep_file
from fau_mae.sweeps.sweep_file import Sweep


def add(commands: Commands) -> None:
    """Add `sweep` to the command line."""
    about = "the trials of a W&B sweep file, on Ray Tune; resumable"
    sweep = add_command(commands, "sweep", _sweep, about, locks=False)  # its folder may stand in the file
    sweep.add_argument("file", help="a W&B sweep file, or a shipped one's name, such as distillation")
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
    from fau_mae.sweeps.results import summarise

    file = sweep_file.find_sweep(options.file)
    sweep = sweep_file.load_sweep(file, options.out, options.trials)
    if not options.cpus_per_trial > 0 or not math.isfinite(options.cpus_per_trial):
        raise UserError(f"--cpus-per-trial {options.cpus_per_trial}: must be above 0")
    if options.gpus_per_trial is not None and not 0 <= options.gpus_per_trial < math.inf:
        raise UserError(f"--gpus-per-trial {options.gpus_per_trial}: must be 0 or above")
    with locked(sweep.folder):
        _run_trials(sweep, file, options)
        summarise(sweep)


def _run_trials(sweep: Sweep, file: Path, options: argparse.Namespace) -> None:
    sweep_file.claim_folder(sweep, file)
    if sweep_file.is_done(sweep):
        print(f"{sweep.name}: everything is done already")
        return
    try:
        from fau_mae.sweeps.ray_tune import run_trials
    except ImportError as error:
        raise UserError(
            f"sweeps need Ray and Optuna ({error}): pip install 'fau-mae[sweep]', or wandb sweep {file}"
        ) from error
    run_trials(
        sweep, options.address, options.cpus_per_trial, options.gpus_per_trial, not options.no_evaluate
    )
