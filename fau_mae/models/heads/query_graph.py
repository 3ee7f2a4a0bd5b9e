"""QueryGraph, the default head: visible tokens -> AU nodes -> AU relations (edges) -> logits.

Shapes: B batch, V visible tokens, N = grid² places, A AUs, d node width, e edge width, r read-out width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from data_modules.batch import FaceShape, Rectangle
from data_modules.ranges import BELOW_1, FROM_1
from fau_mae.models.au_output import AUOutput
from fau_mae.models.backbone.encoder import Latents
from fau_mae.models.heads.au_head import AUHead


@dataclass(frozen=True)
class QueryGraphOptions:
    """Widths of the read-out (r), the nodes (d) and the edges (e); `dropout` on the grid's read-out vectors."""

    read_width: Annotated[int, FROM_1] = 24
    node_width: Annotated[int, FROM_1] = 48
    edge_width: Annotated[int, FROM_1] = 16
    dropout: Annotated[float, BELOW_1] = 0.0


class TokenGrid(nn.Module):
    """Latents of the chosen layers -> a full grid of read-out vectors, with a learned filler at hidden places."""

    def __init__(self, dim: int, layers: Sequence[int], places: int, width: int):
        super().__init__()
        self.layers = layers
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in layers)
        self.proj = nn.Linear(dim * len(layers), width)
        self.filler = nn.Parameter(torch.zeros(1, places, width))

    def forward(self, latents: Latents) -> Tensor:
        """-> (B, N, r)."""
        mined = [norm(latents.layers[layer]) for norm, layer in zip(self.norms, self.layers)]
        x = self.proj(torch.cat(mined, -1))  # (B, V, r)
        B, _, r = x.shape
        full = self.filler.to(x.dtype).expand(B, -1, -1)
        if latents.valid is not None:  # padding writes the filler back to its own (hidden) place
            x = torch.where(latents.valid[..., None], x, self.filler[0].to(x.dtype)[latents.positions])
        return full.scatter(1, latents.positions[..., None].expand(-1, -1, r), x)  # (B, N, r)


class QueryGraph(AUHead):
    """One query per AU reads the grid by position and content; nodes exchange messages along learned edges.

    A query is a linear map over the places of the grid, started where the face shows that AU (`regions`),
    so it learns from the first step; what is hidden enters as a learned filler, so the query knows it.

    Args:
        dim: encoder width D.
        layers: encoder blocks, from 0, whose latents are mined.
        faces: `grid` places of a side; per AU the rectangle (x0, y0, x1, y1; fractions of the crop) that shows it.
    """

    def __init__(
        self,
        dim: int,
        layers: Sequence[int],
        faces: FaceShape,
        options: QueryGraphOptions = QueryGraphOptions(),
    ):
        super().__init__()
        A, N = len(faces.regions), faces.grid**2
        read_width, edge_width = options.read_width, options.edge_width
        self.node_width = node_width = options.node_width
        self.tokens = TokenGrid(dim, layers, N, read_width)
        prior = region_prior(faces.regions, faces.grid)  # (A, N)
        # Unit variance at the node.
        scale = prior / (prior.square().sum(1, keepdim=True).sqrt() * read_width**0.5)
        self.queries = nn.Parameter(torch.randn(A, N, read_width, node_width) * scale[..., None, None])
        self.query_bias = nn.Parameter(torch.zeros(A, node_width))
        self.node_norm = nn.LayerNorm(node_width)
        self.dropout = nn.Dropout(options.dropout)
        self.edge_sender = nn.Linear(node_width, edge_width)
        self.edge_receiver = nn.Linear(node_width, edge_width)
        self.edge_norm = nn.LayerNorm(edge_width)
        self.pair_bias = nn.Parameter(torch.zeros(A, A, edge_width))
        self.gate = nn.Linear(edge_width, 1)
        self.message = nn.Linear(node_width, node_width)
        self.update = nn.Linear(node_width, node_width)
        self.classifier = nn.Parameter(torch.randn(A, node_width) * node_width**-0.5)
        self.bias = nn.Parameter(torch.zeros(A))
        nn.init.zeros_(self.update.weight)
        nn.init.zeros_(self.update.bias)

    def forward(self, latents: Latents) -> AUOutput:
        """Latents of the visible tokens -> logits, nodes and edges; messages leave the edges as they are."""
        places = self.dropout(self.tokens(latents))  # (B, N, r)
        A, _, _, d = self.queries.shape
        queries = self.queries.flatten(1, 2).transpose(0, 1).flatten(1)  # (N·r, A·d): one product for all AUs
        nodes = (places.flatten(1) @ queries).unflatten(1, (A, d)) + self.query_bias  # (B, A, d)
        nodes = nn.functional.gelu(self.node_norm(nodes))
        sender, receiver = self.edge_sender(nodes), self.edge_receiver(nodes)  # (B, A, e)
        edges = self.edge_norm(receiver[:, :, None] + sender[:, None] + self.pair_bias)  # (B, A, A, e)
        edges = nn.functional.gelu(edges)
        attention = self.gate(edges)[..., 0].softmax(-1)  # (B, A, A), over the senders
        first_nodes = nodes
        nodes = nodes + self.update(nn.functional.gelu(attention @ self.message(nodes)))
        logits = (nodes * self.classifier).sum(-1) + self.bias  # (B, A)
        return AUOutput(logits, nodes, edges, first_nodes, edges)


def region_prior(regions: Sequence[Rectangle], grid: int) -> Tensor:
    """Rectangles -> weight of every place for every AU (A, N): 1 inside, falling to .1 far outside."""
    centre = (torch.arange(grid) + 0.5) / grid
    y, x = torch.meshgrid(centre, centre, indexing="ij")
    rows = []
    for x0, y0, x1, y1 in regions:
        dx = (torch.maximum(x0 - x, x - x1)).clamp(min=0)
        dy = (torch.maximum(y0 - y, y - y1)).clamp(min=0)
        rows.append(0.1 + 0.9 * torch.exp(-(dx.square() + dy.square()) / (2 * 0.08**2)))
    return torch.stack(rows).flatten(1)  # (A, N)
