"""MaskedDecoder: what every decoder is: latents of the visible patches -> what hidden ones look like.

Shapes: B batch, N = grid² patches, V visible tokens, Q patches asked for, d width, P = 3·patch² numbers of a patch,
G numbers of its oriented gradients. Masks: True = visible.
"""

from typing import NamedTuple

import torch
from timm.layers import build_sincos2d_pos_embed
from torch import Tensor, nn

from fau_mae.models.backbone.encoder import Latents, MaskedEncoder
from fau_mae.models.backbone.gradients import OrientedGradients


class Told(NamedTuple):
    """What a decoder says of the patches that it is asked for; None for what it has not been built to say."""

    pixels: Tensor | None  # (B, Q, P) normalised over the patch
    statistics: Tensor | None  # (B, Q, 2) the patch's own mean and log deviation
    gradients: Tensor | None  # (B, Q, G) oriented gradients, standardised


class Reads(NamedTuple):
    """What a decoder is built for, whichever it is."""

    dim: int
    depth: int
    heads: int
    pixels: bool
    gradients: bool


class MaskedDecoder(nn.Module):
    """Mask tokens at the places asked for, a few blocks, a linear layer to each target. A subclass says `decode`.

    Pixels are those of the patch *normalised*, as He et al. found best for the latents, and beside them the patch's own
    mean and log deviation, so that a picture can be rebuilt without looking at the hidden truth.

    Args:
        encoder: whose latents it reads.
        reads: width, depth and heads, and what it predicts.
    """

    pos_embed: Tensor  # (1, N, d)
    blocks: nn.ModuleList
    share: float = 1.0  # of the hidden patches, that a step of training asks for

    def __init__(self, encoder: MaskedEncoder, reads: Reads):
        super().__init__()
        dim = reads.dim
        self.patch, self.grid = encoder.patch, encoder.grid
        self.embed = nn.Linear(encoder.dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.register_buffer("pos_embed", build_sincos2d_pos_embed([encoder.grid] * 2, dim)[None])
        self.norm = nn.LayerNorm(dim)
        if reads.pixels:
            self.pixels = nn.Linear(dim, 3 * self.patch**2)
            self.statistics = nn.Linear(dim, 2)
        if reads.gradients:
            self.describe = OrientedGradients(self.patch)
            self.gradients = nn.Linear(dim, self.describe.width)
        self.reads = reads
        nn.init.normal_(self.mask_token, std=0.02)

    def decode(self, latents: Latents, places: Tensor) -> Tensor:
        """-> (B, Q, d), before the last norm."""
        raise NotImplementedError

    def forward(self, latents: Latents, places: Tensor) -> Told:
        """`places` (B, Q) int64: the patches asked for."""
        x = self.norm(self.decode(latents, places))
        pixels, gradients = self.reads.pixels, self.reads.gradients
        return Told(
            self.pixels(x) if pixels else None,
            self.statistics(x) if pixels else None,
            self.gradients(x) if gradients else None,
        )


def attend(query: Tensor, keys_values: Tensor, heads: int, attn_mask: Tensor | None = None) -> Tensor:
    """Attention of (B, Q, d) to (B, K, 2·d), keys then values -> (B, Q, d); `attn_mask` is added to the scores."""
    B, Q, d = query.shape
    q = query.reshape(B, Q, heads, d // heads).transpose(1, 2)  # (B, heads, Q, d / heads)
    k, v = keys_values.reshape(B, -1, 2, heads, d // heads).permute(2, 0, 3, 1, 4)
    scores = (q * (d // heads) ** -0.5) @ k.transpose(-1, -2)
    if attn_mask is not None:
        scores = scores + attn_mask
    return (scores.softmax(-1) @ v).transpose(1, 2).reshape(B, Q, d)
