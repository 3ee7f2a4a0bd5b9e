"""`fau-mae save`: the weights of a checkpoint alone."""

import argparse
from pathlib import Path

from data_modules.errors import UserError
from fau_mae.commands.parser import Commands, add_command


def add(commands: Commands) -> None:
    """Add `save` to the command line."""
    save = add_command(commands, "save", _save, "the weights of a checkpoint, without training state")
    save.add_argument("checkpoint", type=Path, help="a checkpoint of any stage")
    save.add_argument(
        "--out", type=Path, required=True, help="the .safetensors file; goes wherever a checkpoint goes"
    )


def _save(options: argparse.Namespace) -> None:
    if options.out.suffix != ".safetensors":
        raise UserError(f"--out {options.out}: the name must end in .safetensors")
    from fau_mae.weights.checkpoints import save_weights

    save_weights(options.checkpoint, options.out)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")
