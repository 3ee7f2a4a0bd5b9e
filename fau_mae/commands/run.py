"""`fau-mae run`: all stages of an experiment, or one of them, then the occlusion ladder and the report."""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from data_modules.errors import UserError
from fau_mae.commands.parser import Commands, add_command, number, numbers, plain_name, whole

if TYPE_CHECKING:
    from fau_mae.engines.resources import Resources
    from fau_mae.runs.request import Request
    from fau_mae.runs.runner import Engine


def add(commands: Commands) -> None:
    """Add `run` to the command line."""
    about = "all stages of an experiment, then the occlusion ladder and the report"
    run = add_command(commands, "run", _run, about, locks=False)  # runs of different folds share a folder
    run.add_argument("experiment", help="a built-in name (quickstart, …) or a folder with experiment.yaml")
    run.add_argument("--out", type=Path, default=None, help="folder of the run (default: runs/EXPERIMENT)")
    run.add_argument(
        "--name", type=plain_name, default=None, help="of the run, in W&B and reports (default: its folder's)"
    )
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
        "--stage",
        default=None,
        help="do this stage alone, or `ladder`; what it takes must be trained already",
    )
    run.add_argument(
        "--dry-run",
        action="store_true",
        help="print what is done, what would resume, and each step's command",
    )
    run.add_argument(
        "--format", choices=("text", "json"), default="text", help="of --dry-run: json is the graph of steps"
    )
    _add_engines(run)


def _add_engines(run: argparse.ArgumentParser) -> None:
    engines = run.add_argument_group(
        "engines", "who does the steps; without one, this process, one after the other"
    )
    engines.add_argument(
        "--engine",
        choices=("ray", "slurm"),
        default=None,
        help="ray: as many at once as there is room for; slurm: submit all as job arrays, and end",
    )
    engines.add_argument(
        "--write",
        type=Path,
        default=None,
        metavar="DIR",
        help="slurm's scripts go there, and are not submitted",
    )
    engines.add_argument(
        "--jobs", type=whole(1, 10_000), default=None, help="Ray on this machine, so many steps at once"
    )
    engines.add_argument(
        "--address",
        type=plain_name,
        default=None,
        help="of a Ray cluster, or auto (default: this machine alone)",
    )
    engines.add_argument(
        "--cpus-per-stage",
        type=number(above=0),
        default=None,
        help="cores of one step, and its threads (default: 1)",
    )
    engines.add_argument(
        "--gpus-per-stage",
        type=number(least=0),
        default=None,
        help="such as 0.5, or 4 with --set trainer.devices=4 (default: the stage's devices, where there are GPUs)",
    )


def _run(options: argparse.Namespace) -> None:
    from fau_mae.runs.request import Request

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
        name=options.name,
    )
    _check_engine(options)
    if options.dry_run:
        from fau_mae.runs.runner import show_run

        show_run(request, as_text=options.format == "text")
        return
    from fau_mae.runs.runner import run_experiment

    if options.engine == "slurm":
        _on_slurm(request, options)
    else:
        run_experiment(request, _on_ray(options) if options.engine or options.jobs else None)


def _check_engine(options: argparse.Namespace) -> None:
    """Refuse options that would say nothing."""
    if options.format != "text" and not options.dry_run:
        raise UserError(f"--format {options.format} is of --dry-run: add that")
    if options.jobs is not None and options.address is not None:
        raise UserError(
            "--jobs is of this machine alone: with --address, as many at once as the cluster holds"
        )
    engine = options.engine or ("ray" if options.jobs else None)
    known = {
        "ray": ("jobs", "address", "cpus_per_stage", "gpus_per_stage"),
        "slurm": ("write", "cpus_per_stage", "gpus_per_stage"),
    }
    for name in (*known["ray"], "write"):
        if getattr(options, name) is not None and name not in known.get(engine or "", ()):
            needs = " or ".join(f"--engine {each}" for each, names in known.items() if name in names)
            raise UserError(f"--{name.replace('_', '-')} needs {needs}")


def _resources(options: argparse.Namespace) -> "Resources":
    from fau_mae.engines.resources import Resources

    cpus = 1 if options.cpus_per_stage is None else options.cpus_per_stage
    return Resources(options.address, options.jobs, cpus, options.gpus_per_stage)


def _on_ray(options: argparse.Namespace) -> "Engine":
    try:
        from fau_mae.engines.ray_engine import run_on_ray
    except ImportError as error:
        raise UserError(
            f"--engine ray and --jobs need Ray ({error}): pip install 'fau-mae[ray]', or leave them out"
        ) from error
    return partial(run_on_ray, _resources(options))


def _on_slurm(request: "Request", options: argparse.Namespace) -> None:
    from fau_mae.engines.slurm import SUBMIT, submit_scripts, write_scripts
    from fau_mae.runs.runner import begin, look_at

    run = look_at(request)
    if run.finished:
        print(f"{run.experiment.name}: everything is done already")
        return
    begin(run)
    folder = options.write or run.out / "slurm"
    arrays = write_scripts(folder, run.experiment.name, run.steps(), _resources(options))
    if options.write is None:
        submit_scripts(folder)
    else:
        print(f"{folder}: {len(arrays)} arrays; to submit them: bash {folder / SUBMIT}")
