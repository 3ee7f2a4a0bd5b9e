"""GradientStem: oriented gradients of each visible patch, told to a small MLP.

Shapes: B batch, V visible patches, D width, p pixels of a patch's side, P = 3·p².
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data_modules.errors import UserError
from fau_mae.models.backbone.gradients import CELL, OrientedGradients


@dataclass(frozen=True)
class GradientOptions:
    """None."""


class GradientStem(nn.Module):
    """Each visible patch on its own: oriented gradients, contrast-normalised pixels, then a small MLP.

    `OrientedGradients` say at once what a linear stem takes hours of pre-training to find: wrinkles, lids and lip
    outlines, whatever the skin and the light. `patch` is a multiple of 4.
    """

    def __init__(self, patch: int, dim: int, options: GradientOptions = GradientOptions()):
        super().__init__()
        if patch % CELL:
            raise UserError(f"the gradient stem needs patches of a multiple of 4 pixels, not {patch}")
        self.patch = patch
        self.gradients = OrientedGradients(patch)
        inputs = self.gradients.width + 3 * patch * patch + 4
        self.mlp = nn.Sequential(nn.Linear(inputs, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, patches: Tensor) -> Tensor:
        """Normalised pixels (B, V, P) -> tokens (B, V, D)."""
        return self.mlp(self.describe(patches))

    def describe(self, patches: Tensor) -> Tensor:
        """Patches (B, V, P) -> histograms of oriented gradients, normalised pixels, mean colour, log contrast."""
        B, V, _ = patches.shape
        colour = patches.reshape(B, V, 3, self.patch**2)
        mean = colour.mean(-1, keepdim=True)  # (B, V, 3, 1)
        centred = (colour - mean).flatten(2)  # (B, V, P)
        contrast = (centred.square().mean(-1, keepdim=True) + 1e-2).sqrt()  # (B, V, 1)
        histogram = self.gradients(colour.mean(2))  # (B, V, BINS·cells)
        return torch.cat([histogram, centred / contrast, mean[..., 0], contrast.log()], -1)
