"""Losses of AU recognition and of node, edge and logit distillation. Unknown labels (-1) count in none of them."""

import torch
from torch import Tensor
from torch.nn import functional as F


def positive_weights(prevalence: Tensor) -> Tensor:
    """√((1−r)/r) per AU for positive rate r (A,): balances rare AUs without shouting; 1 where r is 0, 1 or unknown."""
    usable = (prevalence > 0) & (prevalence < 1)
    rate = torch.where(usable, prevalence, torch.full_like(prevalence, 0.5))
    return ((1 - rate) / rate).sqrt()


def au_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Binary cross-entropy over the known labels; logits (B, A), labels (B, A) 1/0/-1, `weights` (A,) of positives."""
    known = (labels >= 0).to(logits.dtype)
    each = F.binary_cross_entropy_with_logits(
        logits, labels.clamp(min=0).to(logits.dtype), pos_weight=weights, reduction="none"
    )
    return (each * known).sum() / known.sum().clamp(min=1)


def node_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """1 − cosine between the student's and the teacher's AU nodes (B, A, d), mean over faces and AUs."""
    return (1 - F.cosine_similarity(student, teacher.detach(), dim=-1)).mean()


def edge_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error between the AU relations (B, A, A, e)."""
    return F.mse_loss(student, teacher.detach())


def logit_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Binary cross-entropy of the student's logits (B, A) against the teacher's probabilities, less its entropy.

    The entropy is a constant of the teacher, so the gradient is unchanged and a perfect student reaches 0.
    """
    target = teacher.detach().sigmoid()
    entropy = F.binary_cross_entropy(target, target)
    return F.binary_cross_entropy_with_logits(student, target) - entropy
