"""Methods: the ways to read an occluded face that the ladder compares, and how each is made from checkpoints."""

from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from data_modules.batch import FaceBatch
from data_modules.errors import UserError
from data_modules.face_data import FaceDataModule
from fau_mae.models.backbone.reconstruction import reconstruct
from fau_mae.models.detectors.token_detector import TokenDetector
from fau_mae.weights.by_au import rows_of
from fau_mae.weights.checkpoints import LoadedAUModel, load_au_model, load_detector, load_mae


class Method(NamedTuple):
    """A way to read occluded faces: a name for the tables, what it is told, and its probabilities."""

    name: str
    # none: pixels alone; oracle: the true mask is given; blind: one estimated from the picture.
    mask_source: str
    checkpoint: Path
    predict: Callable[[FaceBatch], Tensor]  # -> (B, A) in [0, 1]
    severity: float | None = None  # the only one it is asked at; None = all of them, and clean faces
    reads: Callable[[FaceBatch], Tensor] | None = None  # -> (B, 3, H, W) uint8; None: it reads `batch.image`


def au_method(
    name: str,
    checkpoint: Path,
    aus: tuple[int, ...],
    device: torch.device,
    loaded: LoadedAUModel | None = None,
) -> Method:
    """A Teacher or Student checkpoint as it is; only a Student is given the mask. AUs are matched by name.

    `loaded`: the checkpoint's model, where it has been read already.
    """
    loaded = loaded or load_au_model(checkpoint)
    rows = rows_of(aus, loaded.aus, checkpoint)
    model = loaded.model.to(device)

    def predict(batch: FaceBatch) -> Tensor:
        logits = model(batch.image, batch.visible if loaded.about.uses_mask else None).logits
        return logits[:, rows].sigmoid()

    return Method(name, "oracle" if loaded.about.uses_mask else "none", checkpoint, predict)


def reconstruct_method(
    name: str, checkpoint: Path, mae: Path, aus: tuple[int, ...], device: torch.device
) -> Method:
    """The pre-trained autoencoder fills the hidden patches in, then the clean model reads the whole picture."""
    clean = au_method(name, checkpoint, aus, device)
    encoder, decoder = load_mae(mae)
    encoder, decoder = encoder.to(device), decoder.to(device)

    def reads(batch: FaceBatch) -> Tensor:
        return reconstruct(encoder, decoder, batch.image, batch.visible)

    def predict(batch: FaceBatch) -> Tensor:
        return clean.predict(batch._replace(image=reads(batch)))

    return Method(name, "oracle", checkpoint, predict, reads=reads)


def with_blind(methods: Sequence[Method], leave_out: Container[str] = ()) -> list[Method]:
    """The methods, and after each one that is given the true mask itself again, with an estimated one.

    Methods of one severity and those named in `leave_out` stay as they are.
    """
    rows = []
    for method in methods:
        rows.append(method)
        if method.mask_source == "oracle" and method.severity is None and method.name not in leave_out:
            rows.append(method._replace(mask_source="blind"))
    return rows


def fitting_detector(checkpoint: Path, data: FaceDataModule) -> TokenDetector:
    """An `OcclusionDetector` checkpoint's model. Raises `UserError` where it reads pictures of another kind."""
    detector = load_detector(checkpoint)
    reads = (detector.encoder.image_size, detector.encoder.grid)
    if reads != (data.image_size, data.grid):
        raise UserError(
            f"{checkpoint} reads {reads[0]} pixels in a grid of {reads[1]}, the models here {data.image_size} in one "
            f"of {data.grid}: train a detector with their data.image_size and data.grid"
        )
    return detector
