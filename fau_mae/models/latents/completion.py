"""LatentCompletion: what the latents of hidden patches would be, told from those of the visible ones.

Shapes: B batch, N = grid² places, V visible and H hidden tokens, D width. Masks: True = visible.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from timm.layers import Mlp
from torch import Tensor, nn
from torch.nn import functional as F

from data_modules.ranges import FROM_1
from fau_mae.models.backbone.encoder import Latents, MaskedEncoder, visible_positions


@dataclass(frozen=True)
class CompletionOptions:
    """`mlp_ratio`: width of the block's MLP, in encoder widths."""

    mlp_ratio: Annotated[int, FROM_1] = 4


class LatentCompletion(nn.Module):
    """A learned mask token at each hidden place attends to the visible latents and the class token, in one block.

    The block is light: hidden tokens do not attend to each other, so cost grows with H·V.

    Args:
        encoder: whose latents are completed; the attention has as many heads as its own.
        layers: encoder blocks, from 0, that a head mines; each gets a linear read-out of the completed tokens.
    """

    def __init__(self, encoder: MaskedEncoder, layers: list[int], options: CompletionOptions):
        super().__init__()
        dim = encoder.dim
        self.layers = layers
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.norm_seen, self.norm_hidden, self.norm_out = (nn.LayerNorm(dim) for _ in range(3))
        self.attention = nn.MultiheadAttention(dim, encoder.heads, batch_first=True)
        self.mlp = Mlp(dim, options.mlp_ratio * dim)
        self.read = nn.ModuleList(nn.Linear(dim, dim) for _ in layers)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, latents: Latents, visible: Tensor, pos_embed: Tensor) -> Latents:
        """Latents of the visible tokens -> latents of every place, (B, N, D), in the mined layers only.

        Args:
            latents: what the encoder made of `visible`; its own values are kept at visible places.
            visible: (B, N) bool, True = visible.
            pos_embed: (1, N, D), the encoder's.
        """
        B, N = visible.shape
        places, _ = visible_positions(~visible)  # (B, H), some of them visible where rows differ in H
        seen = self.norm_seen(torch.cat([latents.cls[:, None], latents.layers[-1]], 1))  # (B, 1+V, D)
        barred = None
        if latents.valid is not None:
            barred = F.pad(~latents.valid, (1, 0), value=False)  # (B, 1+V), True = padding
        x = self.mask_token + pos_embed[0][places]  # (B, H, D)
        asked = self.norm_hidden(x)
        x = x + self.attention(asked, seen, seen, key_padding_mask=barred, need_weights=False)[0]
        x = x + self.mlp(self.norm_out(x))
        full = [x.new_empty(0)] * len(latents.layers)
        for layer, read in zip(self.layers, self.read):
            told = _put(torch.zeros_like(pos_embed).expand(B, -1, -1), read(x), places)
            own = latents.layers[layer].to(told.dtype)  # (B, V, D)
            if latents.valid is not None:  # padding writes back what was completed at its (hidden) place
                there = torch.gather(told, 1, latents.positions[..., None].expand_as(own))
                own = torch.where(latents.valid[..., None], own, there)
            full[layer] = _put(told, own, latents.positions)
        everywhere = torch.arange(N, device=visible.device).expand(B, N)
        return Latents(full[self.layers[-1]], everywhere, full, None, latents.cls)


def latent_loss(student: Latents, teacher: Latents, visible: Tensor, layers: list[int]) -> Tensor:
    """Mean squared error of the completed latents at hidden places, each normalised over its width.

    Args:
        student: what `LatentCompletion` returns.
        teacher: latents of the whole clean face; no gradient reaches them.
        visible: (B, N) bool, True = visible; a batch without a hidden place has loss 0.
        layers: encoder blocks, from 0, that are compared.
    """
    hidden = ~visible
    total = visible.new_zeros((), dtype=torch.float32)
    for layer in layers:
        # (H of all faces, D)
        ours, theirs = student.layers[layer][hidden], teacher.layers[layer].detach()[hidden]
        width = ours.shape[-1:]
        error = (F.layer_norm(ours, width) - F.layer_norm(theirs, width)).square()
        total = total + error.sum() / max(1, error.numel())
    return total / len(layers)


def _put(full: Tensor, values: Tensor, positions: Tensor) -> Tensor:
    """(B, N, D) with `values` (B, K, D) at `positions` (B, K)."""
    return full.to(values.dtype).scatter(1, positions[..., None].expand_as(values), values)
