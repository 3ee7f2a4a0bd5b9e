"""`fau-mae report`: runs compared in one page."""

import argparse
from pathlib import Path

from data_modules.errors import UserError
from fau_mae.commands.parser import Commands, add_command


def add(commands: Commands) -> None:
    """Add `report` to the command line."""
    report = add_command(
        commands, "report", _report, "compare runs, or the trials of a sweep, in one HTML page"
    )
    report.add_argument(
        "runs", type=Path, nargs="+", help="folders that `fau-mae run` made; or one that `fau-mae sweep` made"
    )
    report.add_argument("--out", type=Path, default=Path("report.html"), help="the page")


def _report(options: argparse.Namespace) -> None:
    from fau_mae.evaluation.scored_run import read_run
    from fau_mae.reports.page import check_page, write_report
    from fau_mae.reports.terminal import watched
    from fau_mae.sweeps.sweep_file import is_sweep

    check_page(options.out)
    if sweeps := [folder for folder in options.runs if is_sweep(folder)]:
        if len(options.runs) > 1:
            raise UserError(f"{sweeps[0]} is a sweep: give it alone, or trials' own folders")
        from fau_mae.sweeps.report import write_sweep_report

        write_sweep_report(sweeps[0], options.out)
        print(options.out)
        return
    write_report([read_run(run, watched("Statistics")) for run in options.runs], options.out)
    print(options.out)
