"""Decoders: what the encoder knows of the visible patches -> what the hidden ones look like. They pre-train it.

A decoder takes `(encoder, reads, options)`: the `MaskedEncoder`, width, depth, heads and targets (`Reads`), and its own
options. It is a `MaskedDecoder`: its `forward` takes latents and places to what it tells of the patches there.
"""

from dataclasses import dataclass, field
from typing import Any

from data_modules.errors import UserError
from fau_mae.models.backbone.decoders.cross import CrossDecoder, CrossOptions
from fau_mae.models.backbone.decoders.full import FullDecoder, FullOptions
from fau_mae.models.backbone.decoders.masked_decoder import MaskedDecoder, Reads
from fau_mae.models.backbone.encoder import BackboneConfig, MaskedEncoder
from fau_mae.models.backbone.gradients import CELL
from fau_mae.models.registry import Entry, Registry

DECODERS = Registry(
    "decoder",
    full=Entry(FullDecoder, FullOptions),
    cross=Entry(CrossDecoder, CrossOptions),
)
TARGETS = {"pixels": (True, False), "gradients": (False, True), "both": (True, True)}


@dataclass(frozen=True)
class MAEConfig(BackboneConfig):
    """All options of a masked autoencoder.

    Args:
        size, stem, stem_options, drop_path: of the encoder, see `BackboneConfig`; the decoder's width and depth follow
            the size.
        decoder: `cross` or `full`: key of `DECODERS`.
        decoder_options: what that may be told, such as `{share: 0.5}`.
        target: what is predicted of a hidden patch: normalised `pixels`, oriented `gradients`, or `both`.
    """

    decoder: str = "full"
    decoder_options: dict[str, Any] = field(default_factory=dict)
    target: str = "pixels"

    def __post_init__(self) -> None:
        super().__post_init__()
        DECODERS.options(self.decoder, self.decoder_options)
        if self.target not in TARGETS:
            raise UserError(f"net.target is {self.target!r}: use one of {', '.join(TARGETS)}")


def build_decoder(encoder: MaskedEncoder, config: MAEConfig) -> MaskedDecoder:
    """The decoder that `config` names. Raises `UserError` for a target that it cannot have."""
    pixels, gradients = TARGETS[config.target]
    if gradients and encoder.patch % CELL:
        raise UserError(
            f"net.target {config.target} needs patches of a multiple of 4 pixels, not {encoder.patch}: set it to pixels"
        )
    size = config.numbers
    reads = Reads(size.decoder_dim, size.decoder_depth, size.decoder_heads, pixels, gradients)
    return DECODERS.build(config.decoder, config.decoder_options, encoder, reads)
