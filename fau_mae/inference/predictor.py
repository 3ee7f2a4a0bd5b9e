"""Predictor: a trained AU model that reads arrays of faces. Masks: True = visible."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from data_modules.errors import UserError
from data_modules.facs import au_name
from fau_mae.weights.checkpoints import LoadedAUModel, load_au_model


class Predictor:
    """Face crops in, AU probabilities out.

    The crops must be cut as those the model was trained on: `preset` names the recipe, and `faces.alignment.align` of
    `data_modules` cuts so. `aus`, `image_size` and `grid` are the model's.

    Args:
        loaded: a trained model, see `load`.
        device: `cpu`, `cuda`, …; None = a GPU where there is one.
    """

    def __init__(self, loaded: LoadedAUModel, device: str | None = None):
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = loaded.model.to(self.device)
        self.aus, self.uses_mask = loaded.aus, loaded.about.uses_mask
        faces = loaded.about.faces
        self.image_size, self.grid, self.preset = faces.image_size, faces.grid, faces.preset

    def predict(
        self,
        faces: np.ndarray | Sequence[np.ndarray],
        visible: np.ndarray | None = None,
        batch_size: int = 64,
    ) -> pd.DataFrame:
        """Probability of each AU in each face: a table of one row per face and one column per AU (`AU1`, …).

        Args:
            faces: uint8 RGB (B, H, W, 3), one crop (H, W, 3), or a list of crops; scaled to the model's size.
            visible: (B, N) or (B, grid, grid) bool, True = visible; None = all of each face is. A model that takes no
                mask (`uses_mask` is false) reads every token whatever it says.
            batch_size: faces that are read at once.

        Raises `UserError` for arrays of another kind or shape.
        """
        images = self._images(faces)
        masks = self._masks(visible, len(images))
        rows = [
            self.probabilities(
                images[i : i + batch_size], None if masks is None else masks[i : i + batch_size]
            )
            for i in range(0, len(images), batch_size)
        ]
        values = torch.cat(rows).numpy() if rows else np.zeros((0, len(self.aus)), np.float32)
        return pd.DataFrame(values, columns=[au_name(number) for number in self.aus])

    @torch.inference_mode()
    def probabilities(self, images: Tensor, visible: Tensor | None = None) -> Tensor:
        """`images` (B, 3, H, W) uint8 of the model's size, `visible` (B, N) bool -> (B, A) on the CPU."""
        mask = visible.to(self.device) if visible is not None and self.uses_mask else None
        return self.model(images.to(self.device), mask).logits.sigmoid().float().cpu()

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


def load(path: str | Path, device: str | None = None) -> Predictor:
    """The AU model of a Teacher's or Student's checkpoint (.ckpt or .safetensors), ready to predict.

    Raises `UserError` for a file that holds none.
    """
    return Predictor(load_au_model(Path(path)), device)


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
