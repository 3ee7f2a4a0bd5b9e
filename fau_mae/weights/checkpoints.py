"""Weights in and out: this project's checkpoints and safetensors, and vision transformers of others.

Nothing but tensors and plain values is ever unpickled. Where a source is asked for it may be a file; `shipped:NAME`,
weights that come with the package; or the name of pretrained weights that timm fetches:
`timm:vit_base_patch16_224.mae`, `hf-hub:OWNER/NAME`.
"""

import argparse
import json
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn

from data_modules.errors import UserError
from data_modules.files import check_file, check_ours, write_bytes
from fau_mae.models.au_model import AUModel, AUModelConfig
from fau_mae.models.backbone.decoders import MAEConfig, build_decoder
from fau_mae.models.backbone.decoders.masked_decoder import MaskedDecoder
from fau_mae.models.backbone.encoder import MaskedEncoder
from fau_mae.models.detectors import DetectorConfig, build_detector
from fau_mae.models.detectors.token_detector import TokenDetector
from fau_mae.run_folder import LAST
from fau_mae.weights.by_au import pick_aus, rows_of
from fau_mae.weights.description import KINDS, Description
from fau_mae.weights.foreign import load_decoder, load_encoder
from fau_mae.weights.shipped import file_of

HUBS = ("timm:", "hf-hub:", "hf_hub:")
ENCODER_ONLY = "encoder:"  # before a file or name: start from its encoder, whatever else it holds


class LoadedAUModel(NamedTuple):
    """A trained AU model and what its checkpoint says of it."""

    model: AUModel  # in eval mode
    about: Description

    @property
    def aus(self) -> tuple[int, ...]:
        """Of its logits, in order."""
        return self.about.aus


def load_au_model(path: Path) -> LoadedAUModel:
    """The AU model of a `Teacher` or `Student` checkpoint. Raises `UserError` for any other file."""
    about, state = read_own(path, "au")
    with _described(path):
        model = AUModel(cast(AUModelConfig, about.net), about.faces)
    load_all(model, under(state, "model."), path)
    if prevalence := about.data.get("prevalence"):
        with _described(path):
            model.set_prior(prevalence)
    return LoadedAUModel(model.eval(), about)


def load_mae(path: Path) -> tuple[MaskedEncoder, MaskedDecoder]:
    """Encoder and decoder of an `MAEPretraining` checkpoint, in eval mode. Raises `UserError` for any other file."""
    about, state = read_own(path, "mae")
    with _described(path):
        encoder = MaskedEncoder(about.net, about.faces)
        decoder = build_decoder(encoder, cast(MAEConfig, about.net))
    load_all(encoder, under(state, "encoder."), path)
    load_all(decoder, under(state, "decoder."), path)
    return encoder.eval(), decoder.eval()


def load_detector(path: Path) -> TokenDetector:
    """The model of an `OcclusionDetector` checkpoint, in eval mode. Raises `UserError` for any other file."""
    about, state = read_own(path, "detector")
    with _described(path):
        detector = build_detector(cast(DetectorConfig, about.net), about.faces)
    load_all(detector, under(state, "model."), path)
    return detector.eval()


def start_from(model: AUModel, aus: Sequence[int], source: str) -> Description | None:
    """Start `model`, whose logits are `aus`, from weights: its encoder from any known ones, its head from one.

    A head's AUs are taken by name. A latent completion that the source has not starts as it is. Raises `UserError` when
    any other weight is missing or has another shape, or an AU is: nothing is ever left at random silently. Returns
    what the source says of itself, None for weights of others.
    """
    about, state = _read(source.removeprefix(ENCODER_ONLY))
    if about is not None and about.kind == "au" and not source.startswith(ENCODER_ONLY):
        rows = rows_of(aus, about.aus, source)
        state = pick_aus(under(state, "model."), model, rows, len(about.aus))
        load_all(model, _with_its_own(model, state), source)
    else:
        _fill_encoder(model.encoder, about, state, source)
    return about


def _with_its_own(model: AUModel, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`state` with the completion of `model` where it has none, without parts that `model` does not have."""
    own = model.state_dict()
    for part in ("completion.", "intensity."):
        if not under(own, part):
            state = {name: value for name, value in state.items() if not name.startswith(part)}
    if not under(state, "completion."):
        state |= {name: value for name, value in own.items() if name.startswith("completion.")}
    return state


def start_encoder_from(encoder: MaskedEncoder, source: str) -> Description | None:
    """Start an encoder from any known weights; returns as `start_from` does."""
    source = source.removeprefix(ENCODER_ONLY)
    about, state = _read(source)
    _fill_encoder(encoder, about, state, source)
    return about


def start_mae_from(encoder: MaskedEncoder, decoder: MaskedDecoder, source: str) -> Description | None:
    """Start pre-training from weights; a decoder that the source does not have starts at random. See `start_from`."""
    about, state = _read(source.removeprefix(ENCODER_ONLY))
    _fill_encoder(encoder, about, state, source)
    if not source.startswith(ENCODER_ONLY):
        if about is None:
            load_decoder(decoder, state, source)
        elif about.kind == "mae":
            load_all(decoder, under(state, "decoder."), source)
    return about


def _fill_encoder(
    encoder: MaskedEncoder, about: Description | None, state: dict[str, Tensor], source: str
) -> None:
    if about is None:
        load_encoder(encoder, state, source)
    else:
        load_all(encoder, under(state, "encoder." if about.kind == "mae" else "model.encoder."), source)


def save_weights(
    checkpoint: Path, out: Path, half: bool = False, decisions: Mapping[str, Any] | None = None
) -> None:
    """The weights of a checkpoint of ours as one safetensors file, which every loader here takes in its place.

    With `half`, in half precision; they are read in single again. `decisions`: what the file shall say of them, see
    `Description`; None keeps what the checkpoint says. Raises `UserError` where a weight is too large for that.
    """
    check_file(out, [file_of(checkpoint)])
    check_ours(out, _is_described)
    about, state = read_own(checkpoint)
    if decisions is not None:
        about = replace(about, decisions=dict(decisions))
    tensors = {name: value.contiguous() for name, value in state.items()}
    if half:
        tensors = {name: v.half() if v.is_floating_point() else v for name, v in tensors.items()}
        if (name := not_finite(tensors)) is not None:
            raise UserError(
                f"{checkpoint}: weight {name} is too large for half precision: save without --half"
            )
    write_bytes(out, serialize(tensors, metadata={"fau_mae": json.dumps(about.to_dict())}))


def _is_described(path: Path) -> bool:
    try:
        with safe_open(path, "pt") as file:
            return "fau_mae" in (file.metadata() or {})
    except SafetensorError:
        return False


def read_own(path: Path, kind: str | None = None) -> tuple[Description, dict[str, Tensor]]:
    """What a checkpoint of ours says of itself, and its weights. Raises `UserError` for any other file or kind."""
    about, state = _read(str(path))
    if about is None:
        raise UserError(f"{path} is not a fau_mae checkpoint: it holds weights of another project")
    if kind is not None and about.kind != kind:
        raise UserError(f"{path} holds {KINDS[about.kind]}, not {KINDS[kind]}")
    return about, state


def _read(source: str) -> tuple[Description | None, dict[str, Tensor]]:
    """Description (None for weights of others) and weights of a file or of a hub's name."""
    if source.startswith(HUBS):
        return None, _fetch(source)
    path = file_of(source)
    if not path.is_file():
        raise UserError(f"checkpoint {path} {_missing(path)}")
    try:
        said, state = _read_file(path)
    except Exception as error:  # torch raises half a dozen kinds for a file that is no checkpoint
        # Without a name it is torch's own reader, which could not seek.
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise UserError(
            f"{path} is not a fau_mae checkpoint ({_fault(path, error)}){_whole_one(path)}"
        ) from error
    if (name := not_finite(state)) is not None:
        raise UserError(f"{path}: weight {name} is not finite, its training diverged: use another checkpoint")
    return None if said is None else Description.from_dict(said, source), state


def _missing(path: Path) -> str:
    """What a user may have meant by a path at which there is no file."""
    for inside in (path / "checkpoints" / LAST, path / LAST):
        if inside.is_file():
            return f"is a folder: name the file, such as {inside}"
    if path.is_dir():
        return "is a folder: name a checkpoint file"
    return "does not exist: run the stage that makes it, or name another file"


def _fault(path: Path, error: Exception) -> str:
    """What is wrong with a file that cannot be read, in a word or two."""
    if not path.stat().st_size:
        return "it is empty"
    if isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path):
        return "it holds pickled Python objects, which are never loaded as they may run code; save its weights alone"
    return type(error).__name__


def _whole_one(path: Path) -> str:
    """The other checkpoint of the same stage, where that one can be read."""
    for name in (LAST, "best.ckpt"):
        other = path.with_name(name)
        if path.name in (LAST, "best.ckpt") and other != path and other.is_file():
            with suppress(Exception):
                if _read_file(other)[0] is not None:
                    return f"; {other} is whole: name that one"
    return ""


@contextmanager
def _described(path: Path) -> Iterator[None]:
    """A description that no model can be built from, whatever its building raises, is one line."""
    try:
        yield
    except MemoryError:
        raise
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise UserError(
            f"{path} describes no model that there is ({reason}): use another checkpoint"
        ) from error


def _read_file(path: Path) -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            described = (file.metadata() or {}).get("fau_mae")
        return json.loads(described) if described else None, _in_single(load_file(path))
    # MAE's code keeps its options beside the weights, in a Namespace.
    with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
        warnings.simplefilter("ignore")  # of old formats
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    return checkpoint.get("fau_mae"), _weights_of(checkpoint)


def _in_single(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Models are kept in single precision, however their weights were saved."""
    return {name: v.float() if v.dtype in (torch.float16, torch.bfloat16) else v for name, v in state.items()}


def _weights_of(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    inside = (checkpoint[key] for key in ("state_dict", "model") if isinstance(checkpoint.get(key), dict))
    weights = next(inside, checkpoint)
    if not weights or not all(isinstance(n, str) and isinstance(v, Tensor) for n, v in weights.items()):
        raise ValueError("no weights")
    return weights


def _fetch(name: str) -> dict[str, Tensor]:
    """Pretrained weights by name, through timm, which keeps them in its cache."""
    try:
        model = timm.create_model(name.removeprefix("timm:"), pretrained=True, num_classes=0)
    except Exception as error:  # unknown names, no network, no permission: as many kinds as libraries
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"timm could not fetch {name}: {reason}") from error
    return model.state_dict()


def under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def load_all(module: nn.Module, state: dict[str, Tensor], source: Path | str) -> None:
    """Load every weight of `module`, or say in one line which one does not fit."""
    own = module.state_dict()
    if left := [name for name in state if name not in own]:
        raise UserError(
            f"{source}: weight {left[0]} is left over; use the checkpoint's net.size, stem and head"
        )
    for name, wanted in own.items():
        if name not in state:
            raise UserError(
                f"{source}: weight {name} is missing; was it trained with another net.stem, size, head or intensity?"
            )
        if state[name].shape != wanted.shape:
            raise UserError(
                f"{source}: weight {name} has shape {tuple(state[name].shape)}, this model needs "
                f"{tuple(wanted.shape)}; use the same size, grid, image_size, stem, head and AUs as the checkpoint"
            )
    module.load_state_dict(state)


def not_finite(state: Mapping[str, Any]) -> str | None:
    """The first weight that holds a number that is not finite."""
    return next(
        (
            name
            for name, value in state.items()
            if isinstance(value, Tensor) and value.is_floating_point() and not bool(value.isfinite().all())
        ),
        None,
    )
