"""Weights in: this project's own checkpoints, read without unpickling anything but tensors and plain values."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from data_modules.errors import UserError
from fau_mae.models.au_model import AUModel
from fau_mae.models.decoder import MaskedDecoder
from fau_mae.models.encoder import MaskedEncoder


class LoadedAUModel(NamedTuple):
    """A trained AU model and what its checkpoint says of it."""

    model: AUModel  # in eval mode
    aus: tuple[int, ...]  # of its logits, in order
    recipe: dict[str, Any]  # arguments of `AUModel`
    uses_mask: bool  # whether it is to be told what is hidden


def load_au_model(path: Path) -> LoadedAUModel:
    """The AU model of a `Teacher` or `Student` checkpoint. Raises `UserError` for any other file."""
    checkpoint = _read(path, "au")
    meta = checkpoint["fau_mae"]
    model = AUModel(**meta["recipe"])
    _load_all(model, _under(checkpoint["state_dict"], "model."), path)
    return LoadedAUModel(model.eval(), tuple(meta["aus"]), meta["recipe"], meta["uses_mask"])


def load_mae(path: Path) -> tuple[MaskedEncoder, MaskedDecoder]:
    """Encoder and decoder of an `MAEPretraining` checkpoint, in eval mode. Raises `UserError` for any other file."""
    checkpoint = _read(path, "mae")
    recipe = checkpoint["fau_mae"]["recipe"]
    encoder = MaskedEncoder(**recipe)
    decoder = MaskedDecoder(encoder, recipe["size"])
    _load_all(encoder, _under(checkpoint["state_dict"], "encoder."), path)
    _load_all(decoder, _under(checkpoint["state_dict"], "decoder."), path)
    return encoder.eval(), decoder.eval()


def load_matching(model: AUModel, path: Path) -> None:
    """Start `model` from a checkpoint: its encoder from any of ours, its head too where the checkpoint has one.

    Raises `UserError` when a weight is missing or has another shape: nothing is ever left at random silently.
    """
    checkpoint = _read(path)
    state = checkpoint["state_dict"]
    if checkpoint["fau_mae"]["kind"] == "mae":
        _load_all(model.encoder, _under(state, "encoder."), path)
    else:
        _load_all(model, _under(state, "model."), path)


def _read(path: Path, kind: str | None = None) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(
            f"checkpoint {path} does not exist: run the stage that makes it, or name another file"
        )
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        found = checkpoint["fau_mae"]["kind"]
    except Exception as error:  # torch raises half a dozen kinds for a file that is no checkpoint
        raise UserError(f"{path} is not a fau_mae checkpoint ({type(error).__name__})") from error
    if kind is not None and found != kind:
        names = {"au": "an AU model (teacher or student)", "mae": "a pre-trained masked autoencoder"}
        raise UserError(f"{path} holds {names[found]}, not {names[kind]}")
    return checkpoint


def _under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _load_all(module: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load every weight of `module`, or say in one line which one does not fit."""
    for name, wanted in module.state_dict().items():
        if name not in state:
            raise UserError(
                f"{path}: weight {name} is missing; was it trained with another stem, size or head?"
            )
        if state[name].shape != wanted.shape:
            raise UserError(
                f"{path}: weight {name} has shape {tuple(state[name].shape)}, this model needs {tuple(wanted.shape)}; "
                "use the same size, grid, image_size, stem, head and AUs as the checkpoint"
            )
    module.load_state_dict(state)
