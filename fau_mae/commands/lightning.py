"""`fau-mae fit`, `validate`, `test`: Lightning's own command line, which reads all options itself."""

import os
from collections.abc import Sequence

from fau_mae.commands.parser import Commands

NAMES = ("fit", "validate", "test")


def add(commands: Commands) -> None:
    """Name them in the help; their options are Lightning's and are not read here."""
    for name in NAMES:
        commands.add_parser(
            name, help=f"{name} one stage from a config (Lightning's options)", add_help=False
        )


def run(arguments: Sequence[str]) -> None:
    """Run `fit`, `validate` or `test`; a stage that was trained says how to send its W&B runs."""
    from fau_mae.runs.lightning_cli import run_lightning
    from fau_mae.runs.processes import die_with_parent
    from fau_mae.tracking import sync_line

    if os.environ.get("LOCAL_RANK"):
        die_with_parent()
    out = run_lightning(arguments)
    if out is None or arguments[0] != "fit" or os.environ.get("LOCAL_RANK"):
        return
    if line := sync_line(out):
        print(line)
