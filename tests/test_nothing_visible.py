"""A face of which nothing is visible is answered by the prior, wherever it is met. Masks: True = visible."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fixtures_models import GRID, REGIONS, SIZE, faces, masks
from fixtures_training import fit, losses

import fau_mae as interface
from data_modules.batch import FaceShape
from data_modules.stores.store import FaceStore
from fau_mae.models.au_model import AUModel, AUModelConfig
from fau_mae.models.backbone.decoders import DECODERS, MAEConfig, build_decoder
from fau_mae.models.backbone.encoder import MaskedEncoder
from fau_mae.models.backbone.reconstruction import reconstruction_losses
from fau_mae.models.backbone.stems import STEMS
from fau_mae.models.heads import HEADS
from fau_mae.models.latents import LATENTS

SHAPE = FaceShape(SIZE, GRID, tuple(REGIONS), "canonical")


@pytest.fixture(params=[(stem, head, hidden) for stem in STEMS for head in HEADS for hidden in LATENTS])
def model(request: pytest.FixtureRequest) -> AUModel:
    torch.manual_seed(3)
    stem, head, hidden = request.param
    made = AUModel(AUModelConfig("nano", stem, hidden=hidden, head=head), SHAPE).eval()
    made.set_prior([0.2] * (len(REGIONS) - 1) + [float("nan")])
    return made


@pytest.mark.parametrize("counts", [[0, 0, 0], [0, 5, 16], [0, 1, 0]])
def test_the_answer_is_the_prior_whatever_the_picture(model: AUModel, counts: list[int]) -> None:
    expected = torch.tensor([0.2] * (len(REGIONS) - 1) + [0.5])
    output = model(faces(3), masks(counts))
    for row, count in enumerate(counts):
        if count == 0:
            assert torch.allclose(output.logits[row].sigmoid(), expected)
    assert all(bool(value.isfinite().all()) for value in output)


def test_a_face_beside_it_is_read_as_when_alone(model: AUModel) -> None:
    pictures, visible = faces(2), masks([0, 6])
    together = model(pictures, visible).logits[1]
    assert torch.allclose(together, model(pictures[1:], visible[1:]).logits[0], atol=1e-5)


def test_every_weight_keeps_a_finite_gradient(model: AUModel) -> None:
    """Processes that train together wait for each weight's."""
    model.train().requires_grad_(True)
    seen, none = (
        {name for name, p in _after_backward(model, masks(counts)) if p.grad is not None}
        for counts in ([9, 9], [0, 0])
    )
    assert seen == none
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


def _after_backward(model: AUModel, visible: torch.Tensor) -> list[tuple[str, torch.nn.Parameter]]:
    model.zero_grad(set_to_none=True)
    output = model(faces(2), visible)
    sum(value.float().sum() for value in output).backward()
    return list(model.named_parameters())


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("stem", STEMS)
def test_the_autoencoder_fills_in_from_nothing(stem: str, decoder: str) -> None:
    config = MAEConfig("nano", stem, decoder=decoder, target="both")
    encoder = MaskedEncoder(config, SHAPE)
    losses = reconstruction_losses(encoder, build_decoder(encoder, config), faces(2), masks([0, 0]))
    assert all(bool(loss.isfinite()) for loss in losses.values())


@pytest.mark.parametrize("stage", ["pretrain", "dropped", "student", "augmented"])
def test_a_stage_trains_on_faces_all_hidden(
    fau_mae: Callable[..., int], tiny_store: FaceStore, teacher: Path, tmp_path: Path, no_wandb, stage: str
) -> None:
    hidden = ["--data.occlusion.severity_range=[1.0,1.0]", "--data.occlusion.clean_share=0.0"]
    hidden += ["--data.occlusion.val_kind=patches", "--data.occlusion.val_severity=1.0"]
    out = tmp_path / stage
    init = None if stage == "pretrain" else teacher
    assert fit(fau_mae, stage, tiny_store, out, *hidden, init=init) == 0
    assert np.isfinite(losses(out)).all() and (out / "finished").exists()


def test_the_ladder_may_end_in_nothing(
    fau_mae: Callable[..., int], tiny_store: FaceStore, teacher: Path, tmp_path: Path, no_wandb
) -> None:
    student = tmp_path / "student"
    assert fit(fau_mae, "student", tiny_store, student, init=teacher) == 0
    checkpoint = student / "checkpoints" / "last.ckpt"
    line = ["evaluate", "--checkpoint", checkpoint, "--data", tiny_store.path, "--out", tmp_path / "ladder"]
    assert fau_mae(*line, "--kinds", "patches", "block", "--severities", "0.9", "1") == 0
    results = pd.read_parquet(tmp_path / "ladder" / "results.parquet")
    known = results[(results["severity"] == 1) & (results["au"] != "macro") & results["auroc"].notna()]
    assert len(known) and (known["auroc"] == 0.5).all()
    model = interface.load(checkpoint)
    table = model.predict(tiny_store.image(0), np.zeros((1, model.grid**2), bool))
    assert np.allclose(table.to_numpy(), table.to_numpy()[0]) and ((table > 0) & (table < 1)).all(axis=None)
    assert np.allclose(table.to_numpy(), model.model.prior.sigmoid().numpy())
