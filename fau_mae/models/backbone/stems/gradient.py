"""GradientStem: oriented gradients of each visible patch, told to a small MLP.

Shapes: B batch, V visible patches, D width, p pixels of a patch's side, P = 3·p².
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_modules.errors import UserError


@dataclass(frozen=True)
class GradientOptions:
    """None."""


class GradientStem(nn.Module):
    """Each visible patch on its own: oriented gradients, contrast-normalised pixels, then a small MLP.

    Histograms of oriented gradients (Dalal and Triggs, 2005) over 4 × 4 pixel cells say at once what a linear stem
    takes hours of pre-training to find: wrinkles, lids and lip outlines, whatever the skin and the light. Gradients are
    taken inside the patch and normalised over it, so nothing of a hidden neighbour is read. `patch` is a multiple of 4.
    """

    directions: Tensor  # (BINS, 2) unit vectors over the half circle
    pool: Tensor  # (p², cells) bilinear weights of every pixel in every cell

    BINS = 9
    CELL = 4  # pixels

    def __init__(self, patch: int, dim: int, options: GradientOptions = GradientOptions()):
        super().__init__()
        if patch % self.CELL:
            raise UserError(f"the gradient stem needs patches of a multiple of 4 pixels, not {patch}")
        self.patch = patch
        angles = torch.arange(self.BINS) * math.pi / self.BINS
        self.register_buffer("directions", torch.stack([angles.cos(), angles.sin()], 1), persistent=False)
        self.register_buffer("pool", _cell_weights(patch, self.CELL), persistent=False)
        inputs = self.BINS * self.pool.shape[1] + 3 * patch * patch + 4
        self.mlp = nn.Sequential(nn.Linear(inputs, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, patches: Tensor) -> Tensor:
        """Normalised pixels (B, V, P) -> tokens (B, V, D)."""
        return self.mlp(self.describe(patches))

    def describe(self, patches: Tensor) -> Tensor:
        """Patches (B, V, P) -> histograms of oriented gradients, normalised pixels, mean colour, log contrast."""
        B, V, _ = patches.shape
        p = self.patch
        colour = patches.reshape(B, V, 3, p * p)
        mean = colour.mean(-1, keepdim=True)  # (B, V, 3, 1)
        centred = (colour - mean).flatten(2)  # (B, V, P)
        contrast = (centred.square().mean(-1, keepdim=True) + 1e-2).sqrt()  # (B, V, 1)
        histogram = self._gradients(colour.mean(2).reshape(B, V, p, p))  # (B, V, BINS·cells)
        return torch.cat([histogram, centred / contrast, mean[..., 0], contrast.log()], -1)

    def _gradients(self, grey: Tensor) -> Tensor:
        """(B, V, p, p) -> (B, V, BINS·cells), root of the energy share of each direction in each cell."""
        across = F.pad(grey, (1, 1, 0, 0), mode="replicate").diff(dim=-1)
        down = F.pad(grey, (0, 0, 1, 1), mode="replicate").diff(dim=-2)
        # Central differences, one-sided at the patch's border: (B, V, 1, p²).
        across = (across[..., 1:] + across[..., :-1]).flatten(2)[:, :, None]
        down = (down[..., 1:, :] + down[..., :-1, :]).flatten(2)[:, :, None]
        power = across.square() + down.square() + 1e-12
        scale = power.pow(-15 / 32)  # cos¹⁶ times the length: a 16th power takes the length's 16th root
        unit = torch.cat([across * scale, down * scale], 2)  # (B, V, 2, p²)
        share = self.directions @ unit  # (B, V, BINS, p²)
        for _ in range(4):  # cos¹⁶: .37 at the neighbour's centre, and no angle to compute
            share = share.square_()
        cells = (share @ self.pool).flatten(2)  # (B, V, BINS·cells)
        energy = (cells.square().sum(-1, keepdim=True) + 0.01).sqrt()
        # 1e-12: a flat cell is 0, where a root has no slope, and saliency asks for one.
        return (cells / energy + 1e-12).sqrt() * cells.shape[-1] ** 0.25


def _cell_weights(patch: int, cell: int) -> Tensor:
    """(patch², cells): each pixel is shared between the cells whose centres are less than a cell away."""
    pixel = torch.arange(patch) + 0.5
    centre = (torch.arange(patch // cell) + 0.5) * cell
    weight = F.relu(1 - (pixel[:, None] - centre).abs() / cell)  # (p, cells of a side)
    # A pixel outside the outer centres belongs to one cell alone.
    weight = weight / weight.sum(1, keepdim=True)
    return torch.einsum("yi,xj->yxij", weight, weight).reshape(patch * patch, -1) / cell**2
