"""AUModel = masked encoder + graph head: pictures and masks in, logits, nodes and edges out."""

from typing import NamedTuple

from torch import Tensor, nn

from fau_mae.models.encoder import MaskedEncoder
from fau_mae.models.query_graph import QueryGraph, Rectangle


class AUOutput(NamedTuple):
    """What every head returns; distillation is written once against it."""

    logits: Tensor  # (B, A)
    nodes: Tensor  # (B, A, d)
    edges: Tensor  # (B, A, A, e)


class AUModel(nn.Module):
    """Faces -> action units.

    Args:
        image_size, grid, size, stem, drop_path: of the `MaskedEncoder`.
        regions: one rectangle per AU, see `QueryGraph`.
        layers, dropout: of the `QueryGraph` head.
    """

    def __init__(
        self,
        image_size: int,
        grid: int,
        regions: list[Rectangle],
        size: str = "base",
        stem: str = "linear",
        drop_path: float = 0.0,
        layers: tuple[int, ...] = (-3, -1),
        dropout: float = 0.0,
    ):
        super().__init__()
        self.encoder = MaskedEncoder(image_size, grid, size, stem, drop_path)
        self.encoder.norm.requires_grad_(False)  # the head mines the blocks' outputs and has norms of its own
        self.head = QueryGraph(self.encoder.dim, self.encoder.depth, grid, regions, layers, dropout=dropout)

    def forward(self, image: Tensor, visible: Tensor | None = None) -> AUOutput:
        """`image` (B, 3, H, W) uint8; `visible` (B, N) bool, True = visible, None = every token is read."""
        return AUOutput(*self.head(self.encoder(image, visible)))
