"""OrientedGradients: which way a patch's edges run, cell by cell.

Shapes: B batch, V patches, p pixels of a patch's side, C cells of a patch.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BINS = 9
CELL = 4  # pixels


class OrientedGradients(nn.Module):
    """Histograms of oriented gradients (Dalal and Triggs, 2005) of each patch on its own, over 4 × 4 pixel cells.

    Gradients are taken inside the patch and normalised over it, so nothing of a neighbour is read. `patch`, pixels of a
    side, is a multiple of 4. `width`: numbers that describe a patch, BINS·C.
    """

    directions: Tensor  # (BINS, 2) unit vectors over the half circle
    pool: Tensor  # (p², C) bilinear weights of every pixel in every cell

    def __init__(self, patch: int):
        super().__init__()
        self.patch = patch
        angles = torch.arange(BINS) * math.pi / BINS
        self.register_buffer("directions", torch.stack([angles.cos(), angles.sin()], 1), persistent=False)
        self.register_buffer("pool", _cell_weights(patch, CELL), persistent=False)
        self.width = BINS * self.pool.shape[1]

    def forward(self, grey: Tensor) -> Tensor:
        """(B, V, p²) -> (B, V, BINS·C), root of the energy share of each direction in each cell."""
        grey = grey.unflatten(-1, (self.patch, self.patch))  # (B, V, p, p)
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
        cells = (share @ self.pool).flatten(2)  # (B, V, BINS·C)
        energy = (cells.square().sum(-1, keepdim=True) + 0.01).sqrt()
        # 1e-12: a flat cell is 0, where a root has no slope, and saliency asks for one.
        return (cells / energy + 1e-12).sqrt() * cells.shape[-1] ** 0.25


def _cell_weights(patch: int, cell: int) -> Tensor:
    """(patch², C): each pixel is shared between the cells whose centres are less than a cell away."""
    pixel = torch.arange(patch) + 0.5
    centre = (torch.arange(patch // cell) + 0.5) * cell
    weight = F.relu(1 - (pixel[:, None] - centre).abs() / cell)  # (p, cells of a side)
    # A pixel outside the outer centres belongs to one cell alone.
    weight = weight / weight.sum(1, keepdim=True)
    return torch.einsum("yi,xj->yxij", weight, weight).reshape(patch * patch, -1) / cell**2
