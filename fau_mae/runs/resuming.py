"""What a checkpoint that a stage is to go on from holds, looked at before anything is changed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from data_modules.errors import UserError
from fau_mae.run_folder import FINISHED
from fau_mae.weights.checkpoints import read_own


class Reached(NamedTuple):
    """How far the training of a checkpoint was: whole epochs, steps of the next one, optimiser steps in all."""

    epochs: int
    step: int
    steps: int


def check_checkpoint(path: Path) -> Reached:
    """How far it was. Raises `UserError` for a file that cannot be gone on from."""
    read_own(path)
    whole = (
        torch.load(path, map_location="cpu", weights_only=True, mmap=True) if path.suffix == ".ckpt" else {}
    )
    if "loops" not in whole:
        raise UserError(
            f"{path} holds weights alone, no training to go on with: start from it by model.init_args.init_from"
        )
    stands = whole.get("FaceDataModule", {"epoch": whole["epoch"], "step": 0})
    return Reached(stands["epoch"], stands["step"], whole["global_step"])


def nothing_left(out: Path, reached: Reached, trainer: Mapping[str, Any]) -> str | None:
    """The line that says that a stage asks for no more than is done; None where there is something to train."""
    asked = {"max_epochs": (trainer["max_epochs"], 0), "max_steps": (trainer["max_steps"], 0)}
    done = {"max_epochs": (reached.epochs, reached.step), "max_steps": (reached.steps, 0)}
    for name, (wanted, _) in asked.items():
        if wanted is None or wanted < 0 or done[name] < asked[name]:
            continue
        if done[name] > asked[name] or (out / FINISHED).exists():  # else its end is yet to be written down
            count = f"{done[name][0]} {name.removeprefix('max_')}"
            return f"{out}: {count} are done, trainer.{name}={wanted} asks for no more: nothing is changed"
    return None
