"""Losses of AU predictions against plain references; unknown labels count in none."""

import math

import pytest
import torch
from torch import Tensor

from fau_mae.losses import AULoss, AULossConfig, au_weights, edge_state_loss, positive_weights

RATES = torch.tensor([0.1, 0.5, 0.3, 0.8])
CONFIGS = [
    AULossConfig(kind, balance, focal_gamma)
    for kind, focal_gamma in (("bce", 2.0), ("asymmetric", 2.0), ("focal", 2.0), ("focal", 0.5))
    for balance in ("positives", "aus", "none")
]


def plain_loss(logits: Tensor, labels: Tensor, config: AULossConfig) -> float:
    """Mean over the known labels, one at a time."""
    terms = []
    for row in range(len(logits)):
        for au, rate in enumerate(RATES.tolist()):
            p = 1 / (1 + math.exp(-float(logits[row, au])))
            positive = math.sqrt((1 - rate) / rate) if config.balance == "positives" else 1
            each = 4 / rate / sum(1 / float(r) for r in RATES) if config.balance == "aus" else 1
            scale_present, scale_absent = {
                "bce": (1, 1),
                "asymmetric": (1, p),
                "focal": ((1 - p) ** config.focal_gamma, p**config.focal_gamma),
            }[config.kind]
            if labels[row, au] == 1:
                terms.append(-each * positive * scale_present * math.log(p))
            elif labels[row, au] == 0:
                terms.append(-each * scale_absent * math.log(1 - p))
    return sum(terms) / len(terms)


def some_faces() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    labels = torch.randint(-1, 2, (7, 4), dtype=torch.int8)
    assert (labels == -1).any()
    return torch.randn(7, 4), labels


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.kind}-{c.balance}-{c.focal_gamma}")
def test_loss_is_the_weighted_mean_over_known_labels(config: AULossConfig) -> None:
    logits, labels = some_faces()
    assert AULoss(config, RATES)(logits, labels) == pytest.approx(
        plain_loss(logits, labels, config), rel=1e-5
    )


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.kind}-{c.balance}-{c.focal_gamma}")
def test_known_labels_pull_their_way_and_unknown_ones_not_at_all(config: AULossConfig) -> None:
    logits = torch.randn(2, 4, requires_grad=True)
    labels = torch.tensor([[1, -1, 0, 1], [-1, -1, 1, 0]], dtype=torch.int8)
    loss = AULoss(config, RATES)
    loss(logits, labels).backward()
    assert torch.equal(logits.grad.sign().to(torch.int8), torch.tensor([[-1, 0, 1, -1], [0, 0, -1, 1]]))
    assert loss(logits, torch.full((2, 4), -1)) == 0


def test_the_asymmetric_weight_of_absent_aus_has_no_gradient_of_its_own() -> None:
    logit = torch.tensor([[0.7]], requires_grad=True)
    config = AULossConfig("asymmetric", "none")
    AULoss(config, torch.tensor([0.5]))(logit, torch.tensor([[0]])).backward()
    p = torch.sigmoid(torch.tensor(0.7))
    torch.testing.assert_close(logit.grad[0, 0], p * p)  # sg(p) · d/dz log(1 / (1 − p))


def test_weights_follow_prevalence_and_are_1_where_it_says_nothing() -> None:
    rates = torch.tensor([0.2, 0.5, 0.0, 1.0, math.nan])
    torch.testing.assert_close(positive_weights(rates), torch.tensor([2.0, 1.0, 1.0, 1.0, 1.0]))
    torch.testing.assert_close(au_weights(rates), torch.tensor([15 / 8, 6 / 8, 1.0, 3 / 8, 1.0]))
    assert torch.equal(au_weights(torch.zeros(3)), torch.ones(3))


def test_edge_states_are_judged_where_both_labels_are_known() -> None:
    labels = torch.tensor([[1, 0, -1]], dtype=torch.int8)
    logits = torch.randn(1, 3, 3, 4, requires_grad=True)
    loss = edge_state_loss(logits, labels)
    loss.backward()
    log_p = logits.log_softmax(-1)[0]
    wanted = -(log_p[0, 0, 3] + log_p[0, 1, 2] + log_p[1, 0, 1] + log_p[1, 1, 0]) / 4
    torch.testing.assert_close(loss, wanted)
    assert (logits.grad[0, 2] == 0).all() and (logits.grad[0, :, 2] == 0).all()
    assert edge_state_loss(logits, torch.full((1, 3), -1)) == 0
    config = AULossConfig(edge_states=0.5)
    plain = AULoss(AULossConfig(), RATES[:3])(torch.zeros(1, 3), labels)
    torch.testing.assert_close(
        AULoss(config, RATES[:3])(torch.zeros(1, 3), labels, logits), plain + 0.5 * loss
    )
