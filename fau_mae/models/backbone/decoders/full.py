"""FullDecoder: MAE's own: every place is read by every other."""

from dataclasses import dataclass

import torch
from timm.layers import Attention
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from fau_mae.models.backbone.decoders.masked_decoder import MaskedDecoder, Reads, attend
from fau_mae.models.backbone.encoder import Latents, MaskedEncoder, prefer_explicit_attention


@dataclass(frozen=True)
class FullOptions:
    """None."""


class LastBlock(Block):
    """A block of which only some tokens are asked for: all are keys, those alone are queries and go on."""

    attn: Attention

    def forward(self, x: Tensor, places: Tensor) -> Tensor:  # type: ignore[override]
        """(B, N, d), (B, Q) int64 -> (B, Q, d), what a plain block has there."""
        d = x.shape[-1]
        index = places[..., None].expand(-1, -1, d)  # (B, Q, d)
        weight, bias = self.attn.qkv.weight, self.attn.qkv.bias
        seen = self.norm1(x)
        query = F.linear(seen.gather(1, index), weight[:d], bias[:d])
        read = attend(query, F.linear(seen, weight[d:], bias[d:]), self.attn.num_heads)
        x = x.gather(1, index) + self.attn.proj(read)
        return x + self.mlp(self.norm2(x))


class FullDecoder(MaskedDecoder):
    """He et al., 2022: mask tokens fill the hidden places, all places attend to each other."""

    def __init__(self, encoder: MaskedEncoder, reads: Reads, options: FullOptions):
        super().__init__(encoder, reads)
        kinds = [Block] * (reads.depth - 1) + [LastBlock]
        self.blocks = nn.ModuleList(kind(reads.dim, reads.heads, 4, qkv_bias=True) for kind in kinds)
        prefer_explicit_attention(self.blocks)

    def decode(self, latents: Latents, places: Tensor) -> Tensor:
        x = self.embed(latents.tokens)  # (B, V, d)
        B, _, d = x.shape
        N = self.pos_embed.shape[1]
        if latents.valid is not None:
            x = torch.where(latents.valid[..., None], x, self.mask_token)
        full = self.mask_token.expand(B, N, d).scatter(
            1, latents.positions[..., None].expand(-1, -1, d), x.float()
        )
        full = full + self.pos_embed  # (B, N, d)
        full = torch.cat([self.embed(latents.cls)[:, None], full], 1)  # (B, 1+N, d)
        for block in self.blocks[:-1]:
            full = block(full)
        return self.blocks[-1](full, places + 1)  # after the class token
