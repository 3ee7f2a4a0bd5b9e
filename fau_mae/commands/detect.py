"""`fau-mae detect`: action units of pictures and videos."""

import argparse
from pathlib import Path

from fau_mae.commands.parser import Commands, add_command, share, whole


def add(commands: Commands) -> None:
    """Add `detect` to the command line."""
    about = (
        "pictures, folders or videos -> AU table and overlay pictures; what is hidden is found first, and AUs of "
        "hidden places are marked, not guessed. Exit code 1: some could not be read, or not to their end, and each is "
        "named, 2: none could; files of other kinds in a folder are counted and no more"
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
        help="a Teacher or Student checkpoint (default: shipped:student)",
    )
    detect.add_argument(
        "--detector",
        default=None,
        help="a checkpoint that tells hidden patches, or none: all is visible (default: that of the checkpoint's run, "
        "else shipped:detector)",
    )
    detect.add_argument(
        "--mask",
        type=Path,
        default=None,
        help="a picture of what is hidden in every input, of their size: black hides",
    )
    detect.add_argument(
        "--min-score", type=share, default=0.0, help="of the face finder, 0 to 1; faces below are left out"
    )
    detect.add_argument("--every", type=whole(1), default=1, help="of a video, every so many frames")
    detect.add_argument("--no-overlay", action="store_true", help="the table alone")
    detect.add_argument(
        "--device", default=None, help="cpu, cuda, cuda:1, … (default: a GPU where there is one)"
    )


def _detect(options: argparse.Namespace) -> int:
    from fau_mae.inference.detect import Choice
    from fau_mae.inference.predict import detect_with_checkpoint

    choice = Choice(every=options.every, min_score=options.min_score, overlays=not options.no_overlay)
    return detect_with_checkpoint(
        options.inputs,
        options.out,
        options.checkpoint,
        options.detector,
        options.mask,
        options.device,
        choice,
    )
