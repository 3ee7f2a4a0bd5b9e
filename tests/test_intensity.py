"""Intensities 0-5: both heads against plain references, ICC(3,1) by its analysis of variance, the command line."""

import csv
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures_training import fit

from data_modules.face_data import FaceDataModule
from data_modules.stores.store import FaceStore
from fau_mae.metrics import intraclass_correlation, mean_absolute_error
from fau_mae.models.heads.intensity import IntensityHead
from fau_mae.tasks.face_metrics import IntensityMetrics
from fau_mae.weights.checkpoints import load_au_model

KINDS = ("regression", "ordinal")


def head_of(kind: str) -> IntensityHead:
    torch.manual_seed(0)
    head = IntensityHead(3, 4, kind)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    return head


def plain_icc(x: np.ndarray) -> float:
    """Two-way analysis of variance of (faces, raters), sums of squares one by one."""
    n, k = x.shape
    mean = x.mean()
    total = sum((x[i, j] - mean) ** 2 for i in range(n) for j in range(k))
    faces = sum(k * (x[i].mean() - mean) ** 2 for i in range(n))
    raters = sum(n * (x[:, j].mean() - mean) ** 2 for j in range(k))
    bms, ems = faces / (n - 1), (total - faces - raters) / ((n - 1) * (k - 1))
    return (bms - ems) / (bms + (k - 1) * ems)


def test_icc_and_mae_equal_plain_references() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 5, (20, 3))
    truth[rng.random(truth.shape) < 0.2] = np.nan
    predicted = np.nan_to_num(truth) * 0.7 + rng.normal(0, 0.5, truth.shape)
    icc, error = intraclass_correlation(predicted, truth), mean_absolute_error(predicted, truth)
    for au in range(3):
        known = ~np.isnan(truth[:, au])
        pair = np.stack([predicted[known, au], truth[known, au]], 1)
        assert icc[au] == pytest.approx(plain_icc(pair), abs=1e-12)
        assert error[au] == pytest.approx(sum(abs(a - b) for a, b in pair) / len(pair))


def test_icc_overlooks_an_offset_but_not_a_scale_and_is_undefined_without_variation() -> None:
    truth = np.arange(6.0)[:, None]
    assert intraclass_correlation(truth + 1, truth)[0] == pytest.approx(1)
    assert intraclass_correlation(2 * truth, truth)[0] == pytest.approx(0.8)
    assert intraclass_correlation(-truth, truth)[0] == pytest.approx(-1)
    assert np.isnan(intraclass_correlation(np.ones((6, 1)), np.ones((6, 1)))[0])
    assert np.isnan(mean_absolute_error(truth, np.full_like(truth, np.nan))[0])


def test_a_repeated_face_counts_once() -> None:
    metric, truth = IntensityMetrics(), torch.rand(6, 3) * 5
    metric.update(truth + 0.5, truth, torch.arange(6))
    metric.update(truth[:2] + 3, truth[:2], torch.arange(2))
    assert metric.compute()["absolute_error"] == pytest.approx(0.5, abs=1e-6)
    assert metric.compute()["icc"] == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_stay_in_range_and_the_loss_equals_a_plain_one(kind: str) -> None:
    head, nodes = head_of(kind), torch.randn(7, 3, 4)
    truth = torch.rand(7, 3) * 5
    truth[0, 1] = truth[3] = math.nan
    predicted = head(nodes)
    assert ((predicted >= 0) & (predicted <= 5)).all()
    terms = []
    for b in range(7):
        for a in range(3):
            y = float(truth[b, a])
            if math.isnan(y):
                continue
            if kind == "regression":
                terms.append((predicted[b, a].item() - y) ** 2)
                continue
            score = float(nodes[b, a] @ head.weight[a] + head.bias[a])
            level, term = float(head.gaps[a, 0]), 0.0
            for k in range(5):
                level += math.log1p(math.exp(float(head.gaps[a, k]))) if k else 0
                p, reached = 1 / (1 + math.exp(level - score)), min(max(y - k, 0), 1)
                term -= reached * math.log(p) + (1 - reached) * math.log(1 - p)
            terms.append(term)
    assert head.loss(nodes, truth).item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_intensities_pull_nothing_and_known_ones_can_be_fitted(kind: str) -> None:
    head, nodes = head_of(kind), torch.randn(7, 3, 4, requires_grad=True)
    unknown = torch.full((7, 3), math.nan)
    loss = head.loss(nodes, unknown)
    loss.backward()
    assert loss == 0 and not nodes.grad.any()
    truth = torch.tensor([0.0, 1.5, 5.0]).expand(7, 3)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(400):
        optimizer.zero_grad()
        head.loss(nodes.detach(), truth).backward()
        optimizer.step()
    torch.testing.assert_close(head(nodes), truth, atol=0.25, rtol=0)


def test_ordinal_probabilities_fall_from_level_to_level() -> None:
    scores = head_of("ordinal").scores(torch.randn(50, 3, 4))
    assert (scores[..., 1:] < scores[..., :-1]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_stage_learns_intensities_and_reports_them(
    fau_mae: Callable[..., int], tiny_store: FaceStore, tmp_path: Path, kind: str
) -> None:
    options = [f"--model.init_args.net.intensity={kind}", "--model.init_args.intensity_weight=0.1"]
    assert fit(fau_mae, "teacher", tiny_store, tmp_path / "t", *options) == 0
    with (tmp_path / "t/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert any(row["train/intensity"] for row in rows)
    (error,) = (float(row["val/absolute_error"]) for row in rows if row["val/absolute_error"])
    (icc,) = (float(row["val/icc"]) for row in rows if row["val/icc"])
    assert 0 < error < 5 and -1 <= icc <= 1
    loaded = load_au_model(tmp_path / "t/checkpoints/last.ckpt")
    output = loaded.model(torch.zeros(1, 3, 48, 48, dtype=torch.uint8))
    assert (
        loaded.model.intensity is not None
        and loaded.model.intensity(output.nodes).shape == output.logits.shape
    )


def test_a_store_without_intensities_is_refused(
    fau_mae: Callable[..., int],
    tiny_store: FaceStore,
    tmp_path: Path,
    capsys,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = FaceDataModule(tiny_store.path, grid=4)
    assert data.has_intensities()
    column = FaceStore.column
    monkeypatch.setattr(
        FaceStore,
        "column",
        lambda self, name: (
            np.full_like(column(self, name), np.nan) if name == "intensity" else column(self, name)
        ),
    )
    assert not FaceDataModule(tiny_store.path, grid=4).has_intensities()
    option = "--model.init_args.net.intensity=ordinal"
    assert fit(fau_mae, "teacher", tiny_store, tmp_path / "t", option) == 2
    assert "holds no intensities" in capsys.readouterr().err
