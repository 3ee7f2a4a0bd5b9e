"""AUModel = masked encoder + graph head: pictures and masks in, logits, nodes and edges out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from data_modules.batch import FaceShape
from data_modules.errors import UserError
from data_modules.ranges import FREE
from fau_mae.models.au_output import AUOutput
from fau_mae.models.backbone.encoder import BackboneConfig, Latents, MaskedEncoder
from fau_mae.models.heads import HEADS
from fau_mae.models.heads.au_head import AUHead
from fau_mae.models.heads.intensity import INTENSITIES, IntensityHead, intensity_head
from fau_mae.models.latents import LATENTS


@dataclass(frozen=True)
class AUModelConfig(BackboneConfig):
    """All options of an `AUModel`; what follows the faces is in their `FaceShape`.

    Args:
        size, stem, stem_options, drop_path: of the encoder, see `BackboneConfig`.
        layers: encoder blocks whose latents the head mines; -1 is the last.
        hidden: `dropped`, hidden tokens are left out, or `completed`, told from the visible ones: key of `LATENTS`.
        hidden_options: what that may be told, such as `{mlp_ratio: 2}`.
        head: `query_graph` or `me_graphau`: key of `HEADS`.
        head_options: what that head may be told, such as `{node_width: 64, dropout: 0.1}`.
        intensity: `regression` or `ordinal` adds an `IntensityHead` on the nodes; `none` does not.
    """

    layers: Annotated[tuple[int, ...], FREE] = (-3, -1)
    hidden: str = "dropped"
    hidden_options: dict[str, Any] = field(default_factory=dict)
    head: str = "query_graph"
    head_options: dict[str, Any] = field(default_factory=dict)
    intensity: str = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.layers:
            raise UserError("net.layers names no encoder block: -1 is the last")
        LATENTS.options(self.hidden, self.hidden_options)
        HEADS.options(self.head, self.head_options)
        if self.intensity not in INTENSITIES:
            raise UserError(f"net.intensity is {self.intensity!r}: use one of {', '.join(INTENSITIES)}")


class AUModel(nn.Module):
    """Faces -> action units, one for each of `faces.regions`.

    A face of which no patch is visible is answered by definition: the prior, how often each AU is present.
    """

    head: AUHead
    intensity: IntensityHead | None
    prior: Tensor  # (A,) logits

    def __init__(self, config: AUModelConfig, faces: FaceShape):
        super().__init__()
        self.config, self.faces = config, faces
        self.encoder = MaskedEncoder(config, faces)
        self.encoder.norm.requires_grad_(False)  # the head mines the blocks' outputs and has norms of its own
        self.mined = _from_zero(config.layers, self.encoder.depth)
        self.head, self.intensity = build_head(config, self.encoder, faces)
        self.completion = LATENTS.build(config.hidden, config.hidden_options, self.encoder, self.mined)
        # Not among the weights: what a checkpoint says of its training faces tells it.
        self.register_buffer("prior", torch.zeros(len(faces.regions)), persistent=False)

    def set_prior(self, prevalence: Sequence[float]) -> None:
        """How often each AU (A,) is present, in 0-1; NaN, not known, counts as one half."""
        shares = torch.tensor(prevalence, dtype=torch.float32).nan_to_num(0.5)
        self.prior.copy_(shares.logit(1e-3))

    def forward(
        self, image: Tensor, visible: Tensor | None = None, with_latents: bool = False
    ) -> AUOutput | tuple[AUOutput, Latents]:
        """`image` (B, 3, H, W) uint8; `visible` (B, N) bool, True = visible, None = every token is read.

        `with_latents` adds what the head read: the latents, completed where that is asked for.
        """
        latents = self.encoder(image, visible)
        if visible is not None:
            latents = self.completion(latents, visible, self.encoder.pos_embed)
        output = self._told(latents, visible)
        return (output, latents) if with_latents else output

    def dense(self, image: Tensor, visible: Tensor) -> AUOutput:
        """As `forward`, the same to rounding, with shapes that do not depend on the mask: see `MaskedEncoder.dense`.

        Raises `UserError` for a model that completes hidden latents: how many those are is a shape.
        """
        if self.config.hidden != "dropped":
            raise UserError(f"net.hidden is {self.config.hidden!r}: only `dropped` reads with fixed shapes")
        return self._told(self.encoder.dense(image, visible), visible)

    def _told(self, latents: Latents, visible: Tensor | None) -> AUOutput:
        output: AUOutput = self.head(latents)
        if visible is None:
            return output
        seen = visible.any(1, keepdim=True)  # (B, 1)
        return output._replace(logits=torch.where(seen, output.logits, self.prior))


def build_head(
    config: AUModelConfig, encoder: MaskedEncoder, faces: FaceShape
) -> tuple[AUHead, IntensityHead | None]:
    """The head on an encoder's blocks and, where it is asked for, the intensities' on its nodes."""
    layers = _from_zero(config.layers, encoder.depth)
    head = HEADS.build(config.head, config.head_options, encoder.dim, layers, faces)
    return head, intensity_head(config.intensity, len(faces.regions), head.node_width)


def _from_zero(layers: tuple[int, ...], depth: int) -> list[int]:
    """Encoder blocks counted from 0, in order; a shallow encoder is gone round more than once."""
    return sorted({layer % depth for layer in layers})
