"""`fau-mae experiments`: the built-in experiments, and copies of them to edit."""

import argparse
from pathlib import Path

from data_modules.errors import UserError
from data_modules.files import folder_aside, write_bytes
from fau_mae.commands.parser import Commands, HelpFormatter, add_command


def add(commands: Commands) -> None:
    """Add `experiments` and `experiments copy` to the command line."""
    about = "the built-in experiments: what they show and cost; or an editable copy of one"
    experiments = add_command(commands, "experiments", _list, about, locks=False)
    below = experiments.add_subparsers(dest="action", metavar="copy")
    copy = below.add_parser(
        "copy", help="an editable folder", description="an editable folder", formatter_class=HelpFormatter
    )
    copy.set_defaults(command=_copy, locks=False)
    copy.add_argument("experiment", help="a built-in name, or `sweeps` for the sweep files")
    copy.add_argument("folder", type=Path, help="a folder that does not exist yet")


def _list(options: argparse.Namespace) -> None:
    from fau_mae.runs.experiment import built_in, load_experiment
    from fau_mae.sweeps.sweep_file import built_in_sweeps

    for name in built_in():
        experiment = load_experiment(name)
        print(
            f"{name}: {experiment.about}\n    cost: {experiment.cost}\n    stages: {', '.join(experiment.stages)}"
        )
        if experiment.ablations:
            print(f"    ablations: {', '.join(experiment.ablations)}")
    print("\nfau-mae run NAME runs one; fau-mae experiments copy NAME FOLDER gives a folder to edit and run")
    print(f"sweeps, for fau-mae sweep NAME: {', '.join(built_in_sweeps())}")


def _copy(options: argparse.Namespace) -> None:
    from fau_mae.runs.config_files import experiments_root
    from fau_mae.runs.experiment import built_in

    known = [*built_in(), "sweeps"]
    if options.experiment not in known:
        raise UserError(f"no built-in experiment {options.experiment!r}: use one of {', '.join(known)}")
    if options.folder.exists() or options.folder.is_symlink():
        raise UserError(f"{options.folder} exists already: give a folder that does not")
    source = experiments_root() / options.experiment
    with folder_aside(options.folder) as part:
        for path in sorted(source.rglob("*.yaml")):
            write_bytes(part / path.relative_to(source), path.read_bytes())
    first = (
        "edit its files, then fau-mae sweep FILE"
        if options.experiment == "sweeps"
        else f"fau-mae run {options.folder}"
    )
    print(f"{options.folder}: {first}")
