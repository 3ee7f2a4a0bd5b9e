"""MEGraphAU, the published graph head: tokens -> AU features -> relations -> gated graph convolution -> cosines.

"Learning Multi-dimensional Edge Feature-based AU Relation Graph for Facial Action Unit Recognition" (Luo et al.,
IJCAI 2022): its second stage, written from the equations, for any number of visible tokens.
Shapes: B batch, V visible tokens, A AUs, C node and edge width, h = C/2 attention width. Masks: True = visible.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_modules.batch import FaceShape
from data_modules.ranges import BELOW_1, Range
from fau_mae.models.au_output import AUOutput
from fau_mae.models.backbone.encoder import Latents
from fau_mae.models.heads.au_head import AUHead
from fau_mae.models.heads.masked_norm import MaskedBatchNorm, Moments
from fau_mae.models.heads.pair_attention import PairAttention

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

    node_width: Annotated[int, Range(2)] = 512
    dropout: Annotated[float, BELOW_1] = 0.0
    frozen_norms: bool = False


class CrossAttention(nn.Module):
    """One head: queries and keys of width C/2, values of width C, no output projection."""

    def __init__(self, width: int):
        super().__init__()
        self.query = nn.Linear(width, width // 2)
        self.key = nn.Linear(width, width // 2)
        self.value = nn.Linear(width, width)

    def attention(self, queries: Tensor, keys: Tensor, valid: Tensor | None) -> Tensor:
        """Tokens (B, A, V, C) look at tokens (B, V, C) -> (B, A, V, V); padding, False in `valid` (B, V), gets 0.

        The query layer is applied to the keys: they are fewer.
        """
        keys = self.key(keys) * self._scale()  # (B, V, h)
        scores = queries @ (keys @ self.query.weight).transpose(1, 2)[:, None]
        scores = scores + (keys @ self.query.bias)[:, None, None]
        if valid is not None:
            lowest = torch.finfo(
                scores.dtype
            ).min  # not -inf: a face without visible tokens must not become NaN
            scores = scores.masked_fill(~valid[:, None, None], lowest)
        return scores.softmax(-1)

    def between(self, shown: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Means `shown` (B, A, V, V) of the tokens `seen` (B, V, C) -> factors (B, A, V, r) of the scores between them.

        The rows of `shown` sum to 1, so the layers, with their biases, are applied to the tokens, once for all AUs.
        """
        queries, keys = self.query(seen) * self._scale(), self.key(seen)  # (B, V, h)
        if seen.shape[1] > keys.shape[-1]:
            return shown @ queries[:, None], shown @ keys[:, None]
        # Between two means stands one (V, V) for all pairs: r is V, less than h, and keys need no product at all.
        return shown @ (queries @ keys.transpose(1, 2))[:, None], shown

    def _scale(self) -> float:
        return self.query.out_features**-0.5


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
        valid = latents.valid  # (B, V), None where nothing is padded
        mined = [norm(latents.layers[layer]) for norm, layer in zip(self.norms, self.layers)]
        x = self.reduce(self.dropout(torch.cat(mined, -1)))  # (B, V, C)
        x = F.relu(self.reduce_norm(x, valid))
        features = F.relu(self.au_norm(self.au_features(x), valid))  # (B, V, A·C)
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

    def _edges(self, features: Tensor, x: Tensor, valid: Tensor | None) -> Tensor:
        """FAM, then ARM for every pair, a linear layer, batch norm per pair, mean over tokens -> (B, A, A, C).

        Only the tokens' mean is wanted, and attention, linear layer and norm are linear in the values: so the mean
        of the attention is taken first, and no (B, A, A, V, C) tensor is ever made. What FAM shows of an AU is a mean
        of the face's tokens, so the linear layers behind it are applied to those, once for all AUs.
        """
        shown = self.fam.attention(features, x, valid)  # (B, A, V, V)
        seen = self.fam.value(x)  # (B, V, C); a row of `shown` sums to 1, so biases pass through it
        values = shown @ self.edge(self.arm.value(seen))[:, None]  # (B, A, V, C)
        gram = None
        if self.edge_norm.learns:
            gram = values @ values.transpose(-1, -2)  # (B, A, V, V)
        # Queries come from where an edge starts, keys from where it ends.
        queries, keys = self.arm.between(shown, seen)
        share, squares = PairAttention.apply(queries, keys, gram, valid)  # (B, A, A, V), (A, A)
        edges = share.to(values.dtype) @ values  # (B, A, A, C)
        tokens = x.new_full((len(x),), x.shape[1]) if valid is None else valid.sum(1)  # (B,)
        return self.edge_norm(edges, moments=lambda: _edge_moments(squares, edges, tokens))


def _mean_over_tokens(x: Tensor, valid: Tensor | None) -> Tensor:
    """(B, A, V, C) -> (B, A, C), over the real tokens of `valid` (B, V); 0 where there is none."""
    if valid is None:
        return x.sum(2) / max(1, x.shape[2])
    real = valid.to(x.dtype)
    return torch.einsum("bavc,bv->bac", x, real / real.sum(1, keepdim=True).clamp(min=1))


def _edge_moments(squares: Tensor, edges: Tensor, tokens: Tensor) -> Moments:
    """Statistics per pair over faces, real tokens and channels, of what the pair has in common.

    Args:
        squares: (A, A), sum of the squares.
        edges: (B, A, A, C), means over the tokens.
        tokens: (B,), how many a face has.
    """
    full = squares.dtype
    tokens, count = tokens.to(full), (tokens.sum() * edges.shape[-1]).to(full)
    mean = torch.einsum("b,bijc->ij", tokens, edges.to(full)) / count.clamp(min=1)
    var = squares / count.clamp(min=1) - mean.square()
    return Moments(mean[..., None], var.clamp(min=0)[..., None], count.expand(*mean.shape, 1))
