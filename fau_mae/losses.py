"""Losses of AU recognition. Unknown labels (-1) count in none of them.

Shapes: B faces, A AUs; `labels` (B, A) are 1 present, 0 absent, -1 unknown.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_modules.ranges import FROM_0, check_fields


@dataclass
class AULossConfig:
    """How AU predictions are judged.

    Args:
        kind: `bce`; `asymmetric`, whose absent AUs count by their (detached) probability (Luo et al., IJCAI 2022);
            `focal`, where every term counts by how wrong it is (Lin et al., ICCV 2017).
        balance: from the training fold's positive rates r: `positives` weights present AUs by √((1−r)/r); `aus`
            weights AU i by N·(1/r_i)/Σ(1/r); `none`.
        focal_gamma: exponent of `focal`; 0 is `bce`.
        edge_states: weight of the cross-entropy of the joint states of AU pairs; the head must be `me_graphau`.
    """

    kind: Literal["bce", "asymmetric", "focal"] = "bce"
    balance: Literal["positives", "aus", "none"] = "positives"
    focal_gamma: Annotated[float, FROM_0] = 2.0
    edge_states: Annotated[float, FROM_0] = 0.0

    def __post_init__(self) -> None:
        """Raises `UserError` for an unknown word or a value out of its range."""
        check_fields(self, "loss")


class AULoss(nn.Module):
    """Mean over the known labels, weighted for the training fold's `prevalence` (A,), NaN where unknown."""

    positive: Tensor  # (A,) weight of an AU where it is present
    each: Tensor  # (A,) weight of an AU

    def __init__(self, config: AULossConfig, prevalence: Tensor):
        super().__init__()
        self.config = config
        ones = torch.ones_like(prevalence)
        by_positives, by_aus = config.balance == "positives", config.balance == "aus"
        for name, value in (
            ("positive", positive_weights(prevalence) if by_positives else ones),
            ("each", au_weights(prevalence) if by_aus else ones),
        ):
            self.register_buffer(name, value, persistent=False)  # a matter of the fold, not of the model

    def forward(self, logits: Tensor, labels: Tensor, edge_states: Tensor | None = None) -> Tensor:
        """Scalar loss of `logits` (B, A); `edge_states` (B, A, A, 4) where the config weighs them."""
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        known = (labels >= 0).to(logits.dtype)
        terms = _TERMS[self.config.kind](
            logits, labels.clamp(min=0).to(logits.dtype), self.positive, self.config.focal_gamma
        )
        loss = (self.each * terms * known).sum() / known.sum().clamp(min=1)
        if self.config.edge_states and edge_states is not None:
            loss = loss + self.config.edge_states * edge_state_loss(edge_states, labels)
        return loss


def edge_state_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the joint states 2·y_i + y_j of all pairs whose two labels are known; logits (B, A, A, 4)."""
    y = labels.long()
    first, second = y[:, :, None], y[:, None]  # (B, A, 1), (B, 1, A)
    known = (first >= 0) & (second >= 0)  # (B, A, A)
    states = torch.where(known, 2 * first + second, -100)
    total = F.cross_entropy(logits.flatten(0, 2), states.flatten(), ignore_index=-100, reduction="sum")
    return total / known.sum().clamp(min=1)


def positive_weights(prevalence: Tensor) -> Tensor:
    """√((1−r)/r) per AU for positive rate r (A,): balances rare AUs without shouting; 1 where r is 0, 1 or unknown."""
    usable = (prevalence > 0) & (prevalence < 1)
    rate = torch.where(usable, prevalence, torch.full_like(prevalence, 0.5))
    return ((1 - rate) / rate).sqrt()


def au_weights(prevalence: Tensor) -> Tensor:
    """N·(1/r_i)/Σ(1/r) per AU for positive rate r (A,), over the AUs with a positive; 1 where r is 0 or unknown."""
    usable = prevalence > 0
    inverse = torch.where(usable, 1 / prevalence, torch.zeros_like(prevalence))
    weights = usable.sum() * inverse / inverse.sum().clamp(min=torch.finfo(inverse.dtype).tiny)
    return torch.where(usable, weights, torch.ones_like(weights))


def _bce(logits: Tensor, y: Tensor, positive: Tensor, gamma: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, y, pos_weight=positive, reduction="none")


def _asymmetric(logits: Tensor, y: Tensor, positive: Tensor, gamma: float) -> Tensor:
    absent = (1 - y) * logits.detach().sigmoid() * F.logsigmoid(-logits)
    return -(positive * y * F.logsigmoid(logits) + absent)


def _focal(logits: Tensor, y: Tensor, positive: Tensor, gamma: float) -> Tensor:
    present = y * (-logits).sigmoid() ** gamma * F.logsigmoid(logits)
    absent = (1 - y) * logits.sigmoid() ** gamma * F.logsigmoid(-logits)
    return -(positive * present + absent)


_TERMS: dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {
    "bce": _bce,
    "asymmetric": _asymmetric,
    "focal": _focal,
}
