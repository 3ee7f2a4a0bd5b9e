"""Losses against plain references: unknown labels count in none, distillation vanishes for a perfect copy."""

import math

import pytest
import torch

from fau_mae import losses


def plain_au_loss(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> float:
    """Mean over the known labels, one at a time."""
    terms = []
    for row in range(len(logits)):
        for au, weight in enumerate(weights.tolist()):
            p = 1 / (1 + math.exp(-float(logits[row, au])))
            if labels[row, au] == 1:
                terms.append(-weight * math.log(p))
            elif labels[row, au] == 0:
                terms.append(-math.log(1 - p))
    return sum(terms) / len(terms)


def test_au_loss_is_the_weighted_mean_over_known_labels() -> None:
    torch.manual_seed(0)
    logits, weights = torch.randn(7, 4), torch.tensor([1.0, 2.0, 0.5, 3.0])
    labels = torch.randint(-1, 2, (7, 4), dtype=torch.int8)
    assert (labels == -1).any()
    assert losses.au_loss(logits, labels, weights) == pytest.approx(
        plain_au_loss(logits, labels, weights), rel=1e-5
    )


def test_unknown_labels_have_no_gradient() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    labels = torch.tensor([[1, -1, 0], [-1, -1, 1]], dtype=torch.int8)
    losses.au_loss(logits, labels, torch.ones(3)).backward()
    assert torch.equal(logits.grad != 0, labels >= 0)
    assert losses.au_loss(logits, torch.full((2, 3), -1), torch.ones(3)) == 0


def test_positive_weights_follow_prevalence_and_are_1_where_it_says_nothing() -> None:
    weights = losses.positive_weights(torch.tensor([0.2, 0.5, 0.0, 1.0, math.nan]))
    torch.testing.assert_close(weights, torch.tensor([2.0, 1.0, 1.0, 1.0, 1.0]))


@pytest.mark.parametrize(
    ("loss", "shape"),
    [(losses.node_loss, (3, 4, 5)), (losses.edge_loss, (3, 4, 4, 2)), (losses.logit_loss, (3, 4))],
)
def test_distillation_is_0_for_a_copy_and_pulls_only_the_student(loss, shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    teacher, student = torch.randn(shape, requires_grad=True), torch.randn(shape, requires_grad=True)
    assert loss(teacher, teacher).item() == pytest.approx(0, abs=1e-6)
    value = loss(student, teacher)
    value.backward()
    assert value > 0.01 and teacher.grad is None and student.grad.abs().sum() > 0
