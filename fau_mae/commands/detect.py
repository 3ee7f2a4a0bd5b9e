"""`fau-mae detect`: action units of pictures and videos."""

import argparse
from pathlib import Path

from fau_mae.commands.parser import Commands, add_command


def add(commands: Commands) -> None:
    """Add `detect` to the command line."""
    about = (
        "pictures, folders or videos -> AU table and overlay pictures; exit code 1: some could not be read, or not to "
        "their end, and each is named, 2: none could; files of other kinds in a folder are counted and no more"
    )
    detect = add_command(commands, "detect", _detect, about)
    detect.add_argument(
        "inputs", type=Path, nargs="+", metavar="INPUT", help="pictures, videos, or folders of them"
    )
    detect.add_argument("--out", type=Path, required=True, help="folder for aus.csv and the overlays")
    detect.add_argument(
        "--checkpoint",
        type=Path,
        default=None,
        help="a Teacher or Student checkpoint, or shipped:student (default: the student of runs/quickstart)",
    )


def _detect(options: argparse.Namespace) -> int:
    from fau_mae.inference.predict import detect_with_checkpoint

    return detect_with_checkpoint(options.inputs, options.out, options.checkpoint)
