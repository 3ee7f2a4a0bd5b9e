"""`fau-mae export`: a model as ONNX."""

import argparse
from pathlib import Path

from fau_mae.commands.parser import Commands, add_command


def add(commands: Commands) -> None:
    """Add `export` to the command line."""
    export = add_command(
        commands, "export", _export, "an AU model, or a detector of hidden patches, as an ONNX file"
    )
    export.add_argument(
        "checkpoint",
        type=Path,
        help="of a Teacher, Student or OcclusionDetector, such as shipped:student or shipped:detector",
    )
    export.add_argument("--out", type=Path, required=True, help="the .onnx file")


def _export(options: argparse.Namespace) -> None:
    from fau_mae.inference.export import export

    print(export(options.checkpoint, options.out))
