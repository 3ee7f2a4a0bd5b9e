"""`fau-mae occlude`: occluded copies of pictures, to test models that are not ours."""

import argparse
import sys
from pathlib import Path

from fau_mae.commands.parser import Commands, add_command, share, whole


def add(commands: Commands) -> None:
    """Add `occlude` to the command line."""
    about = (
        "occluded copies of pictures, with masks, to test other models; exit code 1: some could not be read, and each "
        "is named, 2: none could; files of other kinds in a folder are counted and no more"
    )
    occlude = add_command(commands, "occlude", _occlude, about)
    occlude.add_argument(
        "input",
        type=Path,
        help="a face crop, a folder of them, or a store: then the validation and test faces of a fold, with the ids, "
        "labels and masks that our own methods meet",
    )
    occlude.add_argument(
        "--out", type=Path, required=True, help="folder for pictures, masks and manifest.csv"
    )
    occlude.add_argument("--kind", nargs="+", default=["patches", "block"], help="occlusions")
    occlude.add_argument("--severity", nargs="+", type=float, default=[0.25, 0.5, 0.75], help="hidden shares")
    occlude.add_argument(
        "--fill", default=None, help="what hidden pixels of grid kinds show (default: mean; of a store grey)"
    )
    occlude.add_argument(
        "--grid",
        type=whole(1, 1024),
        default=None,
        help="cells of a side of the grid kinds (default: 14; of a store its models')",
    )
    occlude.add_argument("--fold", type=whole(1), default=1, help="of a store")
    occlude.add_argument(
        "--num-folds", type=whole(2), default=3, help="of a store without published folds, as data.num_folds"
    )
    occlude.add_argument(
        "--val-share",
        type=share,
        default=0.1,
        help="of a store's training people that validate, as data.val_share",
    )
    occlude.add_argument(
        "--split", choices=["validation", "test"], default=None, help="of a store (default: both)"
    )
    occlude.add_argument("--objects", type=Path, default=None, help="RGBA cut-outs, for the kind `objects`")
    occlude.add_argument(
        "--seed", type=whole(-1), default=0, help="0: the protocol's masks; -1: held-out textures and shapes"
    )


def _occlude(options: argparse.Namespace) -> int:
    from data_modules.errors import UserError, shown
    from data_modules.sources.media import said
    from data_modules.stores.store import is_store
    from fau_mae.evaluation.occlude_files import occlude_files
    from fau_mae.evaluation.occlude_store import SPLITS, occlude_store

    if is_store(options.input):
        if options.objects is not None or options.seed:
            raise UserError(
                f"{shown(options.input)} is a store, whose masks are the protocol's: leave out --objects and --seed"
            )
        written, faces = occlude_store(
            options.input,
            options.out,
            kinds=options.kind,
            severities=options.severity,
            fill=options.fill or "grey",
            grid=options.grid or 0,
            fold=options.fold,
            num_folds=options.num_folds,
            val_share=options.val_share,
            splits=[options.split] if options.split else SPLITS,
        )
        print(
            f"{shown(options.out)}: {written} pictures of {faces} faces, their masks, manifest.csv and labels.csv"
        )
        return 0
    done = occlude_files(
        options.input,
        options.out,
        kinds=options.kind,
        severities=options.severity,
        fill=options.fill or "mean",
        grid=options.grid or 14,
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
