"""MaskedDecoder: latents of the visible patches -> pixels of every patch. Masks: True = visible."""

import torch
from timm.layers import build_sincos2d_pos_embed
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from fau_mae.models.backbone.encoder import (
    BackboneConfig,
    Latents,
    MaskedEncoder,
    prefer_explicit_attention,
)
from fau_mae.models.backbone.patches import unpatchify


class MaskedDecoder(nn.Module):
    """MAE's decoder: mask tokens fill the hidden places, a few blocks, a linear layer to pixels.

    It predicts per-patch *normalised* pixels, as He et al. found best for the latents, and beside them each
    patch's own mean and log deviation, so that a picture can be rebuilt without looking at the hidden truth.
    """

    pos_embed: Tensor  # (1, N, d)

    def __init__(self, encoder: MaskedEncoder, config: BackboneConfig):
        super().__init__()
        size = config.numbers
        dim, depth, heads = size.decoder_dim, size.decoder_depth, size.decoder_heads
        self.patch, self.grid = encoder.patch, encoder.grid
        self.embed = nn.Linear(encoder.dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.register_buffer("pos_embed", build_sincos2d_pos_embed([encoder.grid] * 2, dim)[None])
        self.blocks = nn.ModuleList(Block(dim, heads, 4, qkv_bias=True) for _ in range(depth))
        prefer_explicit_attention(self.blocks)
        self.norm = nn.LayerNorm(dim)
        self.pixels = nn.Linear(dim, 3 * self.patch**2)
        self.statistics = nn.Linear(dim, 2)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, latents: Latents) -> tuple[Tensor, Tensor]:
        """-> normalised pixels (B, N, P) and (mean, log deviation) (B, N, 2) of every patch."""
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
        for block in self.blocks:
            full = block(full)
        full = self.norm(full)[:, 1:]
        return self.pixels(full), self.statistics(full)


def patch_statistics(patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Patches (B, N, P) -> normalised patches (B, N, P), their mean and log deviation (B, N, 1 each)."""
    mean = patches.mean(-1, keepdim=True)
    std = (patches.var(-1, keepdim=True) + 1e-2).sqrt()  # flat patches must not blow sensor noise up
    return (patches - mean) / std, mean, std.log()


def reconstruction_loss(patches: Tensor, pixels: Tensor, statistics: Tensor, visible: Tensor) -> Tensor:
    """Mean squared error over hidden patches: normalised pixels, plus each patch's mean and log deviation.

    Args:
        patches: (B, N, P) true pixels, normalised over the data set.
        pixels, statistics: what `MaskedDecoder` predicts.
        visible: (B, N) bool, True = visible; only hidden patches count (He et al., 2022).
    """
    target, mean, log_std = patch_statistics(patches)
    hidden = ~visible
    pixel_error = (pixels - target).square().mean(-1)[hidden].mean()
    statistic_error = (statistics - torch.cat([mean, log_std], -1)).square().mean(-1)[hidden].mean()
    return pixel_error + statistic_error


def reconstruct(encoder: MaskedEncoder, decoder: MaskedDecoder, image: Tensor, visible: Tensor) -> Tensor:
    """Fill the hidden patches of uint8 pictures (B, 3, H, W) -> uint8 pictures; visible pixels stay as they are.

    `visible` (B, N) bool, True = visible.
    """
    patches = encoder.patches(image)  # (B, N, P)
    pixels, statistics = decoder(encoder(image, visible))
    filled = pixels * statistics[..., 1:].exp() + statistics[..., :1]
    filled = unpatchify(torch.where(visible[..., None], patches, filled), encoder.patch)  # (B, 3, H, W)
    return (filled * encoder.pixel_std + encoder.pixel_mean).round().clamp(0, 255).to(torch.uint8)
