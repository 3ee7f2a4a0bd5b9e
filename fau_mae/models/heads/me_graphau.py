"""MEGraphAU, the published graph head: tokens -> AU features -> relations -> gated graph convolution -> cosines.

"Learning Multi-dimensional Edge Feature-based AU Relation Graph for Facial Action Unit Recognition" (Luo et al.,
IJCAI 2022): its second stage, written from the equations, for any number of visible tokens.
Shapes: B batch, V visible tokens, A AUs, C node and edge width, h = C/2 attention width. Masks: True = visible.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_modules.batch import FaceShape
from fau_mae.models.au_output import AUOutput
from fau_mae.models.backbone.encoder import Latents
from fau_mae.models.heads.au_head import AUHead
from fau_mae.models.heads.masked_norm import MaskedBatchNorm, Moments

EDGE_STATES = 4  # neither, the second, the first, both AUs of a pair present
COSINE_EPS = 1e-3  # below this product of norms the cosine falls to 0, and its gradient stays finite
LOGIT_EPS = 1e-6  # cosines are mapped into [eps, 1 - eps] before the logarithm


@dataclass(frozen=True)
class MEGraphAUOptions:
    """Options of `MEGraphAU`.

    Args:
        node_width: C; 512 as published.
        dropout: on the normalised tokens.
        frozen_norms: batch norms use their running statistics in training too (see `MaskedBatchNorm`).
    """

    node_width: int = 512
    dropout: float = 0.0
    frozen_norms: bool = False


class CrossAttention(nn.Module):
    """One head: queries and keys of width C/2, values of width C, no output projection."""

    def __init__(self, width: int):
        super().__init__()
        self.query = nn.Linear(width, width // 2)
        self.key = nn.Linear(width, width // 2)
        self.value = nn.Linear(width, width)

    def weights(self, queries: Tensor, keys: Tensor, valid: Tensor) -> Tensor:
        """(…, T, h), (…, S, h) -> attention (…, T, S); `valid` (…, 1, S), False = padding, gets weight 0."""
        scores = queries @ keys.transpose(-1, -2) * queries.shape[-1] ** -0.5
        lowest = torch.finfo(scores.dtype).min  # not -inf: a face without visible tokens must not become NaN
        return scores.masked_fill(~valid, lowest).softmax(-1)


class GatedGCN(nn.Module):
    """One layer: edges learn from their two nodes, nodes gather from all nodes through the edges' gates."""

    def __init__(self, aus: int, width: int, frozen: bool):
        super().__init__()
        self.edge_end, self.edge_start, self.edge_self, self.node_self, self.node_other = (
            nn.Linear(width, width, bias=False) for _ in range(5)
        )
        self.edge_norm = MaskedBatchNorm((aus, aus, 1), frozen)
        self.node_norm = MaskedBatchNorm((aus, 1), frozen)

    def forward(self, x: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """Nodes (B, A, C), edges (B, A, A, C) -> the same shapes. Edge (i, j) ends at i and starts at j."""
        ends, starts = self.edge_end(x)[:, :, None], self.edge_start(x)[:, None]
        e = e + F.relu(self.edge_norm(ends + starts + self.edge_self(e)))
        gate = e.sigmoid().softmax(2)  # (B, A, A, C), over the nodes j that edges start at
        gathered = (gate * self.node_other(x)[:, None]).sum(2) / x.shape[1]  # (B, A, C)
        return F.relu(x + self.node_norm(self.node_self(x) + gathered)), e


class MEGraphAU(AUHead):
    """AFG, FAM, ARM, two GatedGCN layers, cosine classifier and an edge-state classifier.

    The classifier's p = cos(node, ReLU(s)) lies in [0, 1] and is its probability: no sigmoid is meant. `logits` are
    log(p / (1 − p)), so that their sigmoid is p (to 1e-6) and threshold .5 on p is threshold 0 on them; losses and
    metrics then hold for this head as for any other.

    Tokens enter through means and attention over the visible ones; padding enters neither, nor any statistic. With
    no visible token at all every mean is 0, and the AUs' priors remain.

    Args:
        dim: encoder width.
        layers: encoder blocks, from 0, that are mined, joined side by side; the last alone as published.
        faces: one AU per region.
    """

    tells_edge_states = True

    def __init__(
        self,
        dim: int,
        layers: Sequence[int],
        faces: FaceShape,
        options: MEGraphAUOptions = MEGraphAUOptions(),
    ):
        super().__init__()
        aus, frozen = len(faces.regions), options.frozen_norms
        self.node_width = width = options.node_width
        self.layers = layers
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in self.layers)
        self.dropout = nn.Dropout(options.dropout)
        self.reduce = nn.Linear(dim * len(self.layers), width)
        self.reduce_norm = MaskedBatchNorm((width,), frozen)
        self.au_features = nn.Linear(width, aus * width)  # AFG: one linear block per AU
        self.au_norm = MaskedBatchNorm((aus * width,), frozen)
        self.fam = CrossAttention(width)  # facial display of one AU
        self.arm = CrossAttention(width)  # what two such displays have in common
        self.edge = nn.Linear(width, width)
        self.edge_norm = MaskedBatchNorm((aus, aus, 1), frozen)
        self.gcn = nn.ModuleList(GatedGCN(aus, width, frozen) for _ in range(2))
        self.prototypes = nn.Parameter(torch.empty(aus, width))
        self.edge_classifier = nn.Linear(width, EDGE_STATES)
        nn.init.xavier_uniform_(self.prototypes)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=(2 / module.out_features) ** 0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.edge_classifier.weight)

    def forward(self, latents: Latents) -> AUOutput:
        """Latents of the visible tokens -> logits, nodes and edges."""
        valid = latents.valid
        if valid is None:
            valid = torch.ones_like(latents.positions, dtype=torch.bool)  # (B, V)
        mined = [norm(latents.layers[layer]) for norm, layer in zip(self.norms, self.layers)]
        x = self.reduce(self.dropout(torch.cat(mined, -1)))  # (B, V, C)
        x = F.relu(self.reduce_norm(x, valid[..., None]))
        features = F.relu(self.au_norm(self.au_features(x), valid[..., None]))  # (B, V, A·C)
        features = features.unflatten(-1, (-1, x.shape[-1])).transpose(1, 2)  # (B, A, V, C)
        nodes = _mean_over_tokens(features, valid)  # (B, A, C)
        edges = self._edges(features, x, valid)  # (B, A, A, C)
        x, e = nodes, edges
        for layer in self.gcn:
            x, e = layer(x, e)
        p = F.cosine_similarity(x, F.relu(self.prototypes), dim=-1, eps=COSINE_EPS)  # (B, A), 0-1
        p = LOGIT_EPS + (1 - 2 * LOGIT_EPS) * p.clamp(0, 1)
        return AUOutput(torch.log(p) - torch.log1p(-p), x, e, nodes, edges)

    def edge_states(self, edges: Tensor) -> Tensor:
        """Edges (B, A, A, C) -> logits of the four joint states 2·y_i + y_j of AUs i and j (B, A, A, 4)."""
        return self.edge_classifier(edges)

    def untrained(self, edge_states: bool) -> Iterable[nn.Parameter]:
        """The edge-state classifier, unless a loss asks for edge states."""
        return () if edge_states else self.edge_classifier.parameters()

    def _edges(self, features: Tensor, x: Tensor, valid: Tensor) -> Tensor:
        """FAM, then ARM for every pair, a linear layer, batch norm per pair, mean over tokens -> (B, A, A, C).

        Only the tokens' mean is wanted, and attention, linear layer and norm are linear in the values: so the mean
        of the attention is taken first, and no (B, A, A, V, C) tensor is ever made.
        """
        keys = valid[:, None, None]  # (B, 1, 1, V)
        attention = self.fam.weights(self.fam.query(features), self.fam.key(x)[:, None], keys)  # (B, A, V, V)
        shown = attention @ self.fam.value(x)[:, None]  # (B, A, V, C)
        # (B, A, A, V, V): queries from where the edge starts, keys where it ends.
        attention = self.arm.weights(
            self.arm.query(shown)[:, None], self.arm.key(shown)[:, :, None], keys[:, None]
        )
        values = self.edge(
            self.arm.value(shown)
        )  # (B, A, V, C); attention sums to 1: the bias passes through
        share = _mean_over_tokens(attention, valid)  # (B, A, A, V)
        edges = share @ values  # (B, A, A, C)
        return self.edge_norm(edges, moments=lambda: _edge_moments(attention, values, edges, valid))


def _mean_over_tokens(x: Tensor, valid: Tensor) -> Tensor:
    """(B, …, V, C) -> (B, …, C), over the real tokens of `valid` (B, V); 0 where there is none."""
    real = valid.to(x.dtype).reshape(len(x), *[1] * (x.ndim - 3), -1, 1)
    return (x * real).sum(-2) / real.sum(-2).clamp(min=1)


def _edge_moments(attention: Tensor, values: Tensor, edges: Tensor, valid: Tensor) -> Moments:
    """Statistics of attention @ values (B, A, A, V, C) per pair, over faces, real tokens and channels.

    Of the products only their squares' sum is needed: aᵀ(v vᵀ)a for each token's attention a.
    """
    full = torch.promote_types(values.dtype, torch.float32)
    attention, values, edges, real = (x.to(full) for x in (attention, values, edges, valid))
    tokens = real.sum(1)  # (B,)
    count = tokens.sum() * values.shape[-1]
    mean = torch.einsum("b,bijc->ij", tokens, edges) / count.clamp(min=1)
    gram = values @ values.transpose(-1, -2)  # (B, A, V, V)
    squares = torch.einsum("bijts,bijts,bt->ij", attention @ gram[:, :, None], attention, real)
    var = squares / count.clamp(min=1) - mean.square()
    return Moments(mean[..., None], var.clamp(min=0)[..., None], count.expand(*mean.shape, 1))
