"""What a method looks at: gradient maps that the occlusion `saliency` hides by, largest first."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data_modules.batch import FaceBatch
from data_modules.face_data import CLEAN, FaceDataModule
from data_modules.files import reading, write_arrays

Predict = Callable[[FaceBatch], Tensor]  # -> probabilities (B, A)
_CERTAIN = 1e-6  # probabilities nearer to 0 or 1 than this count as this


def saliency_maps(
    predict: Predict, made_by: str, data: FaceDataModule, split: str, path: Path, device: torch.device
) -> dict[int, np.ndarray]:
    """Sample id -> saliency (g, g) of each token of each unoccluded face of `split`.

    A token's saliency is the sum over its pixels of |d/dx ½ Σ_a z_a²|, z the logits: how strongly they move what
    the method says of all AUs, those it is sure of most. No label is used. The maps are kept in `path` (.npz)
    together with `made_by`; a file that is there already is read, so a walk that goes on keeps its masks.
    """
    if not path.exists():
        ids, maps = [], []
        for batch in data.ladder_dataloader(split, CLEAN):
            ids.append(batch.sample_id.numpy())
            on_device = FaceBatch(*(field.to(device) for field in batch))
            maps.append(_gradient_maps(predict, on_device, data.grid).cpu().numpy())
        arrays = {"sample_id": np.concatenate(ids), "saliency": np.concatenate(maps)}
        write_arrays(path, {**arrays, "made_by": np.array(made_by)})
    with reading(path), np.load(path) as kept:
        known = dict(zip(kept["sample_id"].tolist(), kept["saliency"], strict=True))
        if {*known} != {*data.store.column("sample_id")[getattr(data.split, split)].tolist()}:
            raise ValueError("its faces are others")
        return known


def _gradient_maps(predict: Predict, batch: FaceBatch, grid: int) -> Tensor:
    """-> (B, g, g) float32."""
    with torch.inference_mode(False), torch.enable_grad():
        image = batch.image.clone().float().requires_grad_(True)  # (B, 3, H, W), 0-255
        visible = batch.visible.clone()  # all True: nothing is hidden
        logits = predict(batch._replace(image=image, visible=visible)).logit(_CERTAIN)  # (B, A)
        (gradient,) = torch.autograd.grad(logits.square().sum() / 2, image)
    side = image.shape[2] // grid
    cells = gradient.abs().sum(1).unflatten(2, (grid, side)).unflatten(1, (grid, side))  # (B, g, p, g, p)
    return cells.sum((2, 4))
