"""Predictor: trained models that read arrays of faces, and say how far to believe them. Masks: True = visible."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_modules.errors import UserError
from data_modules.facs import au_name
from fau_mae.evaluation.observability import Decisions, not_observable
from fau_mae.models.detectors.token_detector import TokenDetector
from fau_mae.weights.checkpoints import LoadedAUModel, load_au_model, load_detector


@dataclass(frozen=True)
class Reading:
    """What was read of B faces: A AUs, N tokens.

    Args:
        probabilities: (B, A) of each AU, in [0, 1].
        visible: (B, N) bool, True = visible: as given, or as the detector sees it; None where nobody has looked.
        present: (B, A) 1 or 0; NaN for an AU of which half of the region or more is hidden: it is not guessed.
        observable: (B, A) chance that `present` is right, 0 where it is NaN; NaN where these weights do not know.
    """

    probabilities: NDArray[np.float64]
    visible: NDArray[np.bool_] | None
    present: NDArray[np.float64]
    observable: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.probabilities)

    def __getitem__(self, chosen: slice) -> "Reading":
        """Some of the faces."""
        visible = None if self.visible is None else self.visible[chosen]
        return Reading(self.probabilities[chosen], visible, self.present[chosen], self.observable[chosen])


class Predictor:
    """Face crops in, AU probabilities out; with a detector, what is hidden is found first.

    The crops must be cut as those the model was trained on: `preset` names the recipe, and `faces.alignment.align` of
    `data_modules` cuts so. `aus`, `image_size` and `grid` are the model's.

    Args:
        loaded: a trained model, see `load`.
        device: `cpu`, `cuda`, …; None = a GPU where there is one.
        detector: says which tokens are hidden where no mask is given; None = all are taken for visible.

    Raises `UserError` for a detector that reads other crops than the model, and for a device that there is not.
    """

    def __init__(
        self, loaded: LoadedAUModel, device: str | None = None, detector: TokenDetector | None = None
    ):
        self.device = usable_device(device)
        self.model = loaded.model.to(self.device)
        self.aus, self.uses_mask = loaded.aus, loaded.about.uses_mask
        faces = loaded.about.faces
        self.image_size, self.grid, self.preset = faces.image_size, faces.grid, faces.preset
        self.regions = faces.regions
        try:
            known = loaded.about.decisions
            self.decisions = Decisions.from_dict(known, len(self.aus)) if known else None
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"the weights' decisions are damaged ({error}): save them again") from None
        if detector is not None and (reads := _reads(detector)) != (self.image_size, self.grid):
            raise UserError(
                f"the detector reads {reads[0]} pixels in a grid of {reads[1]}, the model {self.image_size} in one of "
                f"{self.grid}: take a detector of the model's own run"
            )
        self.detector = None if detector is None else detector.to(self.device)

    def predict(
        self,
        faces: np.ndarray | Sequence[np.ndarray],
        visible: np.ndarray | None = None,
        batch_size: int = 64,
    ) -> pd.DataFrame:
        """Probability of each AU in each face: a table of one row per face and one column per AU (`AU1`, …).

        Args:
            faces: uint8 RGB (B, H, W, 3), one crop (H, W, 3), or a list of crops; scaled to the model's size.
            visible: (B, N) or (B, grid, grid) bool, True = visible; None = as the detector says, and all of each face
                where there is none. A model that takes no mask (`uses_mask` is false) reads every token all the same.
            batch_size: faces that are read at once.

        Raises `UserError` for arrays of another kind or shape.
        """
        read = self.read(faces, visible, batch_size)
        return pd.DataFrame(
            read.probabilities.astype(np.float32), columns=[au_name(number) for number in self.aus]
        )

    def read(
        self,
        faces: np.ndarray | Sequence[np.ndarray],
        visible: np.ndarray | None = None,
        batch_size: int = 64,
    ) -> Reading:
        """As `predict`, with what is visible, which AUs are there, and how far that is to be believed."""
        images = self._images(faces)
        masks = self._masks(visible, len(images))
        probabilities = np.zeros((len(images), len(self.aus)))
        seen = np.ones((len(images), self.grid**2), bool)
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            values, told = self.probabilities(images[part], None if masks is None else masks[part])
            probabilities[part], seen[part] = values.numpy(), told.numpy()
        known = masks is not None or self.detector is not None
        return self._reading(probabilities, seen, known)

    def _reading(self, probabilities: NDArray[np.float64], seen: NDArray[np.bool_], known: bool) -> Reading:
        """`known`: whether anybody looked for what is hidden."""
        if self.decisions is None:
            present = probabilities >= 0.5
            observable = np.full_like(probabilities, np.nan)
        else:
            present = self.decisions.present(probabilities, seen)
            observable = self.decisions.observable(probabilities, seen, self.regions)
        if not known:
            return Reading(probabilities, None, present.astype(float), np.full_like(probabilities, np.nan))
        lost = not_observable(seen, self.regions)
        return Reading(probabilities, seen, np.where(lost, np.nan, present), np.where(lost, 0.0, observable))

    @torch.inference_mode()
    def probabilities(self, images: Tensor, visible: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`images` (B, 3, H, W) uint8 of the model's size, `visible` (B, N) bool -> (B, A), and (B, N), on the CPU.

        Without `visible` the detector is asked; without one all is taken for visible.
        """
        images = images.to(self.device)
        if visible is not None:
            mask: Tensor | None = visible.to(self.device)
        else:
            mask = None if self.detector is None else self.detector.visible(images)
        values = self.model(images, mask if self.uses_mask else None).logits.sigmoid().float().cpu()
        if mask is None:
            return values, torch.ones(len(images), self.grid**2, dtype=torch.bool)
        return values, mask.cpu()

    def _images(self, faces: np.ndarray | Sequence[np.ndarray]) -> Tensor:
        """Checked and scaled, (B, 3, H, W)."""
        crops = [faces] if isinstance(faces, np.ndarray) and faces.ndim == 3 else list(faces)
        side = self.image_size
        scaled = [_scaled(crop, side) for crop in crops]
        batch = np.stack(scaled) if scaled else np.zeros((0, side, side, 3), np.uint8)
        return torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous()

    def _masks(self, visible: np.ndarray | None, count: int) -> Tensor | None:
        """Checked, (B, N), True = visible."""
        if visible is None:
            return None
        tokens = self.grid**2
        if not (isinstance(visible, np.ndarray) and visible.dtype == bool and visible.size == count * tokens):
            raise UserError(
                f"visible is {_described(visible)}: hand in bool, True = visible, ({count}, {tokens}) for these faces"
            )
        return torch.from_numpy(np.ascontiguousarray(visible).reshape(count, tokens))


def load(
    path: str | Path = "shipped:student", device: str | None = None, detector: str | Path | None = None
) -> Predictor:
    """The AU model of a Teacher's or Student's checkpoint (.ckpt or .safetensors), ready to predict.

    `detector`: a checkpoint of one, which then says what is hidden where no mask is given; `shipped:detector` fits
    `shipped:student` and `shipped:teacher`. Raises `UserError` for a file that holds none.
    """
    found = None if detector is None else load_detector(Path(detector))
    return Predictor(load_au_model(Path(path)), device, found)


def usable_device(name: str | None) -> torch.device:
    """A device by its name, None = a GPU where there is one. Raises `UserError` for one that cannot be used."""
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else "unknown"
        raise UserError(f"device {name} cannot be used here ({first}): try cpu") from None
    return device


def _reads(detector: TokenDetector) -> tuple[int, int]:
    return detector.encoder.image_size, detector.encoder.grid


def _scaled(crop: np.ndarray, side: int) -> np.ndarray:
    """One crop (H, W, 3) as (side, side, 3)."""
    if not (
        isinstance(crop, np.ndarray) and crop.dtype == np.uint8 and crop.ndim == 3 and crop.shape[2] == 3
    ):
        raise UserError(
            f"a face is {_described(crop)}: hand in uint8 RGB, (H, W, 3) each or all as (B, H, W, 3)"
        )
    if crop.shape[:2] == (side, side):
        return crop
    shrinks = crop.shape[0] > side
    return cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _described(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} {value.shape}"
    return f"a {type(value).__name__}"
