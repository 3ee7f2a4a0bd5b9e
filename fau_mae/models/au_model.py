"""AUModel = masked encoder + graph head: pictures and masks in, logits, nodes and edges out."""

from torch import Tensor, nn

from data_modules.errors import UserError
from fau_mae.models.au_output import AUOutput
from fau_mae.models.encoder import MaskedEncoder
from fau_mae.models.me_graphau import MEGraphAU
from fau_mae.models.query_graph import QueryGraph, Rectangle

HEADS = ("query_graph", "me_graphau")


class AUModel(nn.Module):
    """Faces -> action units.

    Args:
        image_size, grid, size, stem, drop_path: of the `MaskedEncoder`.
        regions: one rectangle per AU, see `QueryGraph`.
        head: `query_graph` (see `QueryGraph`) or `me_graphau` (see `MEGraphAU`).
        layers, dropout: of either head.
        node_width: width of the head's nodes; None = the head's own default (48 and 512).
        frozen_norms: the batch norms of `me_graphau` keep their running statistics while training.
    """

    head: QueryGraph | MEGraphAU

    def __init__(
        self,
        image_size: int,
        grid: int,
        regions: list[Rectangle],
        size: str = "base",
        stem: str = "linear",
        drop_path: float = 0.0,
        head: str = "query_graph",
        layers: tuple[int, ...] = (-3, -1),
        dropout: float = 0.0,
        node_width: int | None = None,
        frozen_norms: bool = False,
    ):
        super().__init__()
        self.encoder = MaskedEncoder(image_size, grid, size, stem, drop_path)
        self.encoder.norm.requires_grad_(False)  # the head mines the blocks' outputs and has norms of its own
        dim, depth = self.encoder.dim, self.encoder.depth
        if head == "query_graph":
            self.head = QueryGraph(
                dim, depth, grid, regions, layers, node_width=node_width or 48, dropout=dropout
            )
        elif head == "me_graphau":
            self.head = MEGraphAU(dim, depth, len(regions), layers, node_width or 512, dropout, frozen_norms)
        else:
            raise UserError(f"there is no head {head!r}: use one of {', '.join(HEADS)}")

    def forward(self, image: Tensor, visible: Tensor | None = None) -> AUOutput:
        """`image` (B, 3, H, W) uint8; `visible` (B, N) bool, True = visible, None = every token is read."""
        return self.head(self.encoder(image, visible))
