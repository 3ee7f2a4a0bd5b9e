"""`fau-mae save`: the weights of a checkpoint alone, or all of a run with their model card."""

import argparse
from pathlib import Path

from data_modules.errors import UserError
from fau_mae.commands.parser import Commands, add_command


def add(commands: Commands) -> None:
    """Add `save` to the command line."""
    save = add_command(
        commands, "save", _save, "the weights of a checkpoint, without training state, or of a run"
    )
    save.add_argument(
        "source",
        type=Path,
        help="a checkpoint of any stage; or the folder of a finished run: all its stages, and a model card",
    )
    save.add_argument(
        "--out",
        type=Path,
        required=True,
        help="the .safetensors file, which goes wherever a checkpoint goes; of a run, a folder for them and their card",
    )
    save.add_argument(
        "--half", action="store_true", help="in half precision: half the size, read in single precision again"
    )


def _save(options: argparse.Namespace) -> None:
    if options.source.is_dir():
        _save_run(options.source, options.out, options.half)
        return
    if options.out.suffix != ".safetensors":
        raise UserError(f"--out {options.out}: the name must end in .safetensors")
    from fau_mae.weights.checkpoints import save_weights

    save_weights(options.source, options.out, half=options.half)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB")


def _save_run(run: Path, out: Path, half: bool) -> None:
    from data_modules.files import check_folder
    from fau_mae.reports.card import trained_weights, write_card
    from fau_mae.reports.decided import how_it_decides
    from fau_mae.reports.terminal import watched
    from fau_mae.weights.checkpoints import save_weights

    check_folder(out, [run])
    trained, weights = trained_weights(run), {}
    held = how_it_decides(run, trained, watched)
    for name, checkpoint in trained.items():
        weights[name] = out / f"{name}.safetensors"
        decisions = held.decisions.to_dict() if held and name == held.name else None
        save_weights(checkpoint, weights[name], half=half, decisions=decisions)
        print(f"{weights[name]}: {weights[name].stat().st_size / 1e6:.2f} MB")
    write_card(run, weights, out / "model-card.md", watched("Statistics"), held)
    print(out / "model-card.md")
