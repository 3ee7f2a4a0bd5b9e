"""`fau-mae prepare SOURCE`: the options of every source, and the report of what came out."""

import argparse
import sys
from pathlib import Path
from typing import Any

from data_modules.facs import BP4D_AUS, DISFA_ALL_AUS, DISFA_AUS
from fau_mae.commands.parser import Commands, add_command, plain_name, plain_text

_NOT_OPTIONS = {"command", "locks", "name", "source", "out", "check", "preview"}
_MOST_LINES = 20  # on damaged files


def add(commands: Commands) -> None:
    """Add `prepare` and its sources to the command line."""
    prepare = commands.add_parser("prepare", help="raw files -> a store of aligned faces with labels")
    sources = prepare.add_subparsers(dest="source", required=True, metavar="SOURCE")

    synthetic = add_command(
        sources, "synthetic", _prepare, "render faces whose action units are known exactly"
    )
    synthetic.add_argument("--identities", type=int, default=300, help="people")
    synthetic.add_argument("--frames", type=int, default=20, help="pictures of each")
    synthetic.add_argument("--size", type=int, default=96, help="pixels of a side")
    synthetic.add_argument("--seed", type=int, default=0, help="of everything random")
    synthetic.add_argument(
        "--style", default="bp4d", help="how often AUs occur and co-occur: bp4d, disfa or balanced"
    )
    synthetic.add_argument(
        "--clips",
        action="store_true",
        help="each person's frames are one clip: AUs rise, hold and fall, the head moves",
    )
    synthetic.add_argument(
        "--preview", type=Path, default=None, help="also write a contact sheet (.png, .jpg)"
    )

    bp4d = add_command(sources, "bp4d", _prepare, "BP4D's pictures and label files, either label release")
    _add_root(bp4d, "folder that holds Sequences(2D+3D) and the AU coding")
    bp4d.add_argument("--aus", type=int, nargs="+", default=BP4D_AUS, help="action units, in this order")
    bp4d.add_argument(
        "--frame-offset", type=int, default=0, help="picture number minus label-file frame number"
    )

    disfa = add_command(sources, "disfa", _prepare, "DISFA's videos and label files")
    _add_root(disfa, "folder that holds ActionUnit_Labels and Videos_LeftCamera or Videos_RightCamera")
    disfa.add_argument(
        "--aus", type=int, nargs="+", default=DISFA_AUS, help=f"action units out of {DISFA_ALL_AUS}"
    )
    disfa.add_argument("--camera", choices=("left", "right"), default="left", help="which of the two videos")
    disfa.add_argument(
        "--drop-bad-frames", action="store_true", help="leave out the frames common work calls bad"
    )

    folder = _add_folder(sources)
    for source in (synthetic, bp4d, disfa, folder):
        source.add_argument("--workers", type=int, default=None, help="processes (default: one per core)")
        source.add_argument("--out", type=Path, required=True, help="folder of the store")
        source.add_argument(
            "--check", action="store_true", help="report what is in it, as text and check.html"
        )


def _add_folder(sources: Commands) -> argparse.ArgumentParser:
    folder = add_command(
        sources, "folder", _prepare, "any pictures or videos, with a table of AU labels or none"
    )
    _add_root(folder, "folder of pictures and videos")
    folder.add_argument(
        "--labels", type=Path, default=None, help="CSV or Parquet: file, AU12, …, subject, fold"
    )
    folder.add_argument(
        "--name",
        type=plain_name,
        dest="dataset_name",
        default="folder",
        help="name of the data set in results",
    )
    folder.add_argument(
        "--licence",
        type=plain_text,
        default="",
        help="of the pictures, with the attribution it asks for; model cards repeat it",
    )
    return folder


def _add_root(parser: argparse.ArgumentParser, about: str) -> None:
    parser.add_argument("--root", type=Path, required=True, help=about)
    parser.add_argument("--size", type=int, default=224, help="pixels of a side")
    parser.add_argument(
        "--preset", default="canonical", help="crop recipe: canonical, me_graphau, jaa_net or fmae"
    )


def _prepare(options: argparse.Namespace) -> None:
    from data_modules.prepare import prepare
    from data_modules.stores.summary import damage_lines

    values: dict[str, Any] = {name: v for name, v in vars(options).items() if name not in _NOT_OPTIONS}
    if "dataset_name" in values:
        values["name"] = values.pop("dataset_name")
    preview = getattr(options, "preview", None)
    if preview is not None:
        from data_modules.synthetic_faces.sheets import check_sheet, clip_sheet, preview_sheet

        check_sheet(preview)
    store = prepare(options.source, options.out, values)
    counts = ", ".join(f"{number} {name}" for name, number in store.info.counts.items())
    print(f"{options.out}: {counts}; AUs {' '.join(map(str, store.info.aus))}")
    lines = damage_lines(store)
    for line in lines[:_MOST_LINES]:
        print(f"left out: {line}", file=sys.stderr)
    if len(lines) > _MOST_LINES:
        print(
            f"left out: {len(lines) - _MOST_LINES} files more, see {options.out / 'skipped.csv'}",
            file=sys.stderr,
        )
    if preview is not None:
        draw = clip_sheet if options.clips else preview_sheet
        print(f"contact sheet: {draw(preview, options.seed, style_name=options.style)}")
    if options.check:
        from data_modules.stores.summary import summarise, summary_text, write_summary_page

        compared = store.check_bytes()
        summary = summarise(store)
        print(summary_text(summary))
        print(f"{compared} shards compared with their digests: as written")
        write_summary_page(store, summary, options.out / "check.html")
        print(f"with pictures: {options.out / 'check.html'}")
