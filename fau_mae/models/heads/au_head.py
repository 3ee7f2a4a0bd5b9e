"""AUHead: what every head from latents to action units is, and says of itself."""

from collections.abc import Iterable
from typing import ClassVar

from torch import Tensor, nn

from fau_mae.models.au_output import AUOutput
from fau_mae.models.backbone.encoder import Latents


class AUHead(nn.Module):
    """Latents of B faces -> `AUOutput`. Heads take `(dim, layers, faces, options)`.

    `dim` is the encoder's width, `layers` are the blocks (from 0) that are mined, `faces.regions` has one rectangle
    per AU, and `options` is a dataclass of the head's own.
    """

    node_width: int  # of `AUOutput.nodes`
    tells_edge_states: ClassVar[bool] = False  # whether a loss may ask for the joint states of AU pairs

    def forward(self, latents: Latents) -> AUOutput:
        raise NotImplementedError

    def edge_states(self, edges: Tensor) -> Tensor | None:
        """Edges (B, A, A, e) -> logits of the pairs' joint states (B, A, A, 4), where the head tells them."""
        return None

    def untrained(self, edge_states: bool) -> Iterable[nn.Parameter]:
        """Weights that no loss reaches, given whether one asks for edge states; they are frozen."""
        return ()
