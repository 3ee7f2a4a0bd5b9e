"""CrossDecoder: a mask token reads the visible patches, and no other mask token."""

from dataclasses import dataclass
from typing import Annotated

import torch
from timm.layers import Mlp
from torch import Tensor, nn

from data_modules.ranges import Range
from fau_mae.models.backbone.decoders.masked_decoder import MaskedDecoder, Reads, attend
from fau_mae.models.backbone.encoder import Latents, MaskedEncoder, barring


@dataclass(frozen=True)
class CrossOptions:
    """`share`: of the hidden patches, chosen anew at random, that a step of training predicts; in (0, 1]."""

    share: Annotated[float, Range(0, 1, above=True)] = 0.25


class CrossBlock(nn.Module):
    """Cross-attention to what is seen, then an MLP, each added to the queries."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key_value = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, x: Tensor, seen: Tensor, attn_mask: Tensor | None) -> Tensor:
        """Queries (B, Q, d), what is seen (B, 1+V, d), (B, 1, 1, 1+V) added to the scores -> (B, Q, d)."""
        read = attend(self.query(self.norm1(x)), self.key_value(seen), self.heads, attn_mask)
        x = x + self.proj(read)
        return x + self.mlp(self.norm2(x))


class CrossDecoder(MaskedDecoder):
    """After Fu et al., "Rethinking Patch Dependence for Masked Autoencoders", 2024.

    The mask tokens asked for read the encoder's visible tokens and its class token. What is told of a patch does not
    depend on which others are asked for, so a training step asks for a share of the hidden ones and costs as little.
    """

    def __init__(self, encoder: MaskedEncoder, reads: Reads, options: CrossOptions):
        super().__init__(encoder, reads)
        self.share = options.share
        self.norm_seen = nn.LayerNorm(reads.dim)
        self.blocks = nn.ModuleList(CrossBlock(reads.dim, reads.heads) for _ in range(reads.depth))

    def decode(self, latents: Latents, places: Tensor) -> Tensor:
        seen = self.embed(torch.cat([latents.cls[:, None], latents.tokens], 1))  # (B, 1+V, d)
        seen = self.norm_seen(seen)
        attn_mask = None if latents.valid is None else barring(latents.valid, seen)
        x = self.mask_token + self.pos_embed[0][places]  # (B, Q, d)
        for block in self.blocks:
            x = block(x, seen, attn_mask)
        return x
