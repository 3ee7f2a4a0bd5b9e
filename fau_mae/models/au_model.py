"""AUModel = masked encoder + graph head: pictures and masks in, logits, nodes and edges out."""

from torch import Tensor, nn

from data_modules.errors import UserError
from fau_mae.models.au_output import AUOutput
from fau_mae.models.backbone.encoder import SIZES, Latents, MaskedEncoder
from fau_mae.models.heads.intensity import INTENSITY_KINDS, IntensityHead
from fau_mae.models.heads.me_graphau import MEGraphAU
from fau_mae.models.heads.query_graph import QueryGraph, Rectangle
from fau_mae.models.latents.completion import LatentCompletion

_NODE_WIDTHS = {"query_graph": 48, "me_graphau": 512}
HIDDEN = ("dropped", "completed")
HEADS = tuple(_NODE_WIDTHS)


class AUModel(nn.Module):
    """Faces -> action units.

    Args:
        image_size, grid, size, stem, drop_path: of the `MaskedEncoder`.
        regions: one rectangle per AU, see `QueryGraph`.
        head: `query_graph` (see `QueryGraph`) or `me_graphau` (see `MEGraphAU`).
        layers, dropout: of either head.
        node_width: width of the head's nodes; None = the head's own default (48 and 512).
        intensity: `regression` or `ordinal` adds an `IntensityHead` on the nodes; `none` does not.
        hidden: `dropped`, hidden tokens are left out, or `completed`, see `LatentCompletion`.
        frozen_norms: the batch norms of `me_graphau` keep their running statistics while training.
    """

    head: QueryGraph | MEGraphAU
    intensity: IntensityHead | None
    completion: LatentCompletion | None

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
        intensity: str = "none",
        hidden: str = "dropped",
    ):
        super().__init__()
        self.encoder = MaskedEncoder(image_size, grid, size, stem, drop_path)
        self.encoder.norm.requires_grad_(False)  # the head mines the blocks' outputs and has norms of its own
        dim, depth = self.encoder.dim, self.encoder.depth
        width = node_width or _NODE_WIDTHS.get(head, 0)
        if head == "query_graph":
            self.head = QueryGraph(dim, depth, grid, regions, layers, node_width=width, dropout=dropout)
        elif head == "me_graphau":
            self.head = MEGraphAU(dim, depth, len(regions), layers, width, dropout, frozen_norms)
        else:
            raise UserError(f"there is no head {head!r}: use one of {', '.join(HEADS)}")
        if intensity not in INTENSITY_KINDS:
            raise UserError(f"there is no intensity {intensity!r}: use one of {', '.join(INTENSITY_KINDS)}")
        self.intensity = None if intensity == "none" else IntensityHead(len(regions), width, intensity)

        if hidden not in HIDDEN:
            raise UserError(f"there is no way {hidden!r} for hidden tokens: use one of {', '.join(HIDDEN)}")
        self.mined = sorted({layer % depth for layer in layers})  # encoder blocks, from 0
        self.completion = None
        if hidden == "completed":
            self.completion = LatentCompletion(self.encoder, SIZES[size][2], self.mined)

    def forward(
        self, image: Tensor, visible: Tensor | None = None, with_latents: bool = False
    ) -> AUOutput | tuple[AUOutput, Latents]:
        """`image` (B, 3, H, W) uint8; `visible` (B, N) bool, True = visible, None = every token is read.

        `with_latents` adds what the head read: the latents, completed where that is asked for.
        """
        latents = self.encoder(image, visible)
        if self.completion is not None and visible is not None:
            latents = self.completion(latents, visible, self.encoder.pos_embed)
        output = self.head(latents)
        return (output, latents) if with_latents else output
