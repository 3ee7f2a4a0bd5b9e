"""`fau-mae occlude`: occluded copies of pictures, to test models that are not ours."""

import argparse
import sys
from pathlib import Path

from fau_mae.commands.parser import Commands, add_command, whole


def add(commands: Commands) -> None:
    """Add `occlude` to the command line."""
    about = (
        "occluded copies of pictures, with masks, to test other models; exit code 1: some could not be read, and each "
        "is named, 2: none could; files of other kinds in a folder are counted and no more"
    )
    occlude = add_command(commands, "occlude", _occlude, about)
    occlude.add_argument("input", type=Path, help="a face crop or a folder of them")
    occlude.add_argument(
        "--out", type=Path, required=True, help="folder for pictures, masks and manifest.csv"
    )
    occlude.add_argument("--kind", nargs="+", default=["patches", "block"], help="occlusions")
    occlude.add_argument("--severity", nargs="+", type=float, default=[0.25, 0.5, 0.75], help="hidden shares")
    occlude.add_argument("--fill", default="mean", help="what hidden pixels of grid kinds show")
    occlude.add_argument("--grid", type=whole(1, 1024), default=14, help="cells of a side of the grid kinds")
    occlude.add_argument("--objects", type=Path, default=None, help="RGBA cut-outs, for the kind `objects`")
    occlude.add_argument(
        "--seed", type=whole(-1), default=0, help="0: the protocol's masks; -1: held-out textures and shapes"
    )


def _occlude(options: argparse.Namespace) -> int:
    from data_modules.errors import shown
    from data_modules.sources.media import said
    from fau_mae.evaluation.occlude_files import occlude_files

    done = occlude_files(
        options.input,
        options.out,
        kinds=options.kind,
        severities=options.severity,
        fill=options.fill,
        grid=options.grid,
        objects=options.objects,
        seed=options.seed,
    )
    print(
        f"{shown(options.out)}: {done.written} occluded copies of {done.pictures} pictures, their masks and "
        "manifest.csv"
    )
    if others := said(done.other):
        print(f"not read: {others}")
    for line in done.left_out:
        print(f"left out: {line}", file=sys.stderr)
    return 1 if done.left_out else 0
