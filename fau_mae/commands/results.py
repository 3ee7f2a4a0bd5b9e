"""`fau-mae results`: the tables of finished runs, into a Markdown document."""

import argparse
from pathlib import Path

from fau_mae.commands.parser import Commands, add_command


def add(commands: Commands) -> None:
    """Add `results` to the command line."""
    about = "the tables of finished runs, into a Markdown document"
    results = add_command(commands, "results", _results, about)
    results.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders that `fau-mae run` made")
    results.add_argument(
        "--out",
        type=Path,
        required=True,
        help="the document (.md): only what stands between its two marker lines is replaced; a .csv goes beside it",
    )


def _results(options: argparse.Namespace) -> None:
    from fau_mae.reports.document import write_results
    from fau_mae.reports.terminal import watched

    write_results(options.runs, options.out, watched("Statistics"))
    print(f"{options.out}, {options.out.with_suffix('.csv')}")
