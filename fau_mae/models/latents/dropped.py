"""Dropped: hidden tokens are left out. Masks: True = visible."""

from dataclasses import dataclass

from torch import Tensor, nn

from fau_mae.models.backbone.encoder import Latents, MaskedEncoder


@dataclass(frozen=True)
class DroppedOptions:
    """None."""


class Dropped(nn.Module):
    """The head reads what the encoder made of the visible tokens, as it is; no weights."""

    def __init__(self, encoder: MaskedEncoder, layers: list[int], options: DroppedOptions):
        super().__init__()

    def forward(self, latents: Latents, visible: Tensor, pos_embed: Tensor) -> Latents:
        """`visible` (B, N) bool, True = visible; `pos_embed` (1, N, D)."""
        return latents
