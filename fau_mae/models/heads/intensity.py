"""IntensityHead: AU nodes -> intensities 0-5 (FACS A to E are 1 to 5), by regression or over ordered thresholds."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 5
INTENSITIES = ("none", "regression", "ordinal")


def intensity_head(kind: str, aus: int, width: int) -> "IntensityHead | None":
    """The head of that kind, of `INTENSITIES`, for `aus` nodes of `width`; None for `none`."""
    return None if kind == "none" else IntensityHead(aus, width, kind)


class IntensityHead(nn.Module):
    """One linear score per AU, on that AU's node.

    `regression`: 5·sigmoid(score), squared error. `ordinal`: P(intensity ≥ k) = sigmoid(score − t_k) for k = 1 to 5
    with thresholds t_1 < … < t_5 of each AU, so the probabilities never cross (Cao et al., "Rank consistent ordinal
    regression", 2020); the intensity is their sum, its expectation, and the loss their binary cross-entropy. An
    intensity between two levels is a soft target.
    """

    def __init__(self, aus: int, width: int, kind: str):
        super().__init__()
        self.kind = kind
        self.weight = nn.Parameter(torch.randn(aus, width) * width**-0.5)
        self.bias = nn.Parameter(torch.zeros(aus))
        if kind == "ordinal":
            self.gaps = nn.Parameter(torch.zeros(aus, LEVELS))  # before softplus; the first is a plain offset

    def scores(self, nodes: Tensor) -> Tensor:
        """Nodes (B, A, d) -> logits: (B, A) of intensity / 5, or (B, A, 5) of reaching each level."""
        score = (nodes * self.weight).sum(-1) + self.bias  # (B, A)
        if self.kind == "regression":
            return score
        steps = torch.cat([self.gaps[:, :1], F.softplus(self.gaps[:, 1:])], 1)
        return score[..., None] - steps.cumsum(1)  # (B, A, 5)

    def forward(self, nodes: Tensor) -> Tensor:
        """Nodes (B, A, d) -> intensities (B, A) in 0-5."""
        p = self.scores(nodes).sigmoid()
        return LEVELS * p if self.kind == "regression" else p.sum(-1)

    def loss(self, nodes: Tensor, intensity: Tensor) -> Tensor:
        """Mean over the known `intensity` (B, A) 0-5, NaN = unknown."""
        known = ~intensity.isnan()
        target = intensity.nan_to_num()
        scores = self.scores(nodes).to(torch.promote_types(nodes.dtype, torch.float32))
        if self.kind == "regression":
            each = (LEVELS * scores.sigmoid() - target).square()
        else:
            levels = torch.arange(LEVELS, device=target.device)
            reached = (target[..., None] - levels).clamp(0, 1)  # (B, A, 5)
            each = F.binary_cross_entropy_with_logits(scores, reached, reduction="none").sum(-1)
        return (each * known).sum() / known.sum().clamp(min=1)
