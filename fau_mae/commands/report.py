"""`fau-mae report`: runs compared in one page."""

import argparse
from pathlib import Path

from fau_mae.commands.parser import Commands, add_command


def add(commands: Commands) -> None:
    """Add `report` to the command line."""
    report = add_command(commands, "report", _report, "compare runs in one HTML page")
    report.add_argument("runs", type=Path, nargs="+", help="folders that `fau-mae run` made")
    report.add_argument("--out", type=Path, default=Path("report.html"), help="the page")


def _report(options: argparse.Namespace) -> None:
    from fau_mae.evaluation.scored_run import read_run
    from fau_mae.reports.page import check_page, write_report
    from fau_mae.reports.terminal import watched

    check_page(options.out)
    write_report([read_run(run, watched("Statistics")) for run in options.runs], options.out)
    print(options.out)
