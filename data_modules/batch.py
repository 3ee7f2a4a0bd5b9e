"""The contract between data and models. Mask polarity everywhere: True = visible."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from data_modules.facs import Rectangle


class FaceBatch(NamedTuple):
    """B faces as a model sees them. A = number of AUs, N = g·g tokens of the patch grid.

    Pictures travel as uint8 RGB and are normalised on the device.
    """

    image: Tensor  # (B, 3, H, W) uint8, as the model may see it
    clean: Tensor  # (B, 3, H, W) uint8, the unoccluded picture; training and upper bounds only
    visible: Tensor  # (B, N) bool, True = visible
    labels: Tensor  # (B, A) int8: 1 present, 0 absent, -1 unknown
    intensity: Tensor  # (B, A) float32, 0-5; NaN where the source has none
    subject: Tensor  # (B,) int64, index of the subject in the store
    sample_id: Tensor  # (B,) int64, stable across stores, machines and orders


@dataclass(frozen=True)
class FaceShape:
    """What a model must fit: the pictures it reads, and where the crop shows each AU."""

    image_size: int  # pixels of a side
    grid: int  # tokens of a side; divides `image_size`
    regions: tuple[Rectangle, ...]  # one per AU, in their order
    preset: str  # how the faces are cropped: one of `faces.alignment.PRESETS`
