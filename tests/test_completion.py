"""Latent completion and several masks of one face: properties of the model, then the student's command line."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fixtures_models import FACES, faces, masks
from fixtures_training import fit, losses
from torch import Tensor

from data_modules.stores.store import FaceStore
from fau_mae.models.au_model import AUModel, AUModelConfig
from fau_mae.models.backbone.encoder import Latents
from fau_mae.models.backbone.patches import patchify, unpatchify
from fau_mae.models.heads import HEADS
from fau_mae.models.latents.completion import latent_loss
from fau_mae.weights.checkpoints import load_au_model

FauMae = Callable[..., int]
COUNTS = [[9, 9, 9], [3, 16, 1], [0, 5, 0]]


def completed_model(head: str = "query_graph") -> AUModel:
    torch.manual_seed(3)
    net = AUModelConfig("nano", hidden="completed", head=head, head_options={"node_width": 16})
    return AUModel(net, FACES).eval()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("counts", COUNTS)
def test_neighbours_and_hidden_pixels_change_nothing(counts: list[int], head: str) -> None:
    """Padding on either side, of visible and of hidden tokens, must not reach a face."""
    model, image, visible = completed_model(head), faces(3), masks(counts)
    together, latents = model(image, visible, with_latents=True)
    garbage = (
        patchify(faces(3).float(), 12) * ~visible[..., None]
        + patchify(image.float(), 12) * visible[..., None]
    )
    other = model(unpatchify(garbage, 12).to(torch.uint8), visible)
    for i in range(3):
        alone, own = model(image[i : i + 1], visible[i : i + 1], with_latents=True)
        for mine, same, spoilt in zip(together, alone, other):
            scale = max(1.0, same.abs().max().item())
            torch.testing.assert_close(mine[i : i + 1] / scale, same / scale, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(spoilt[i : i + 1] / scale, same / scale, atol=1e-5, rtol=1e-5)
        if not visible[i].all():
            torch.testing.assert_close(latents.layers[-1][i], own.layers[-1][0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("counts", COUNTS)
def test_visible_latents_are_the_encoders_and_hidden_ones_are_told(counts: list[int]) -> None:
    model, image, visible = completed_model(), faces(3), masks(counts)
    plain, (_, full) = model.encoder(image, visible), model(image, visible, with_latents=True)
    real = torch.ones_like(plain.positions, dtype=torch.bool) if plain.valid is None else plain.valid
    for layer in model.mined:
        there = torch.gather(full.layers[layer], 1, plain.positions[..., None].expand_as(plain.layers[layer]))
        assert torch.equal(there[real], plain.layers[layer][real])
        for face, seen in zip(full.layers[layer], visible):
            told = face[~seen]
            assert told.isfinite().all() and len(told.unique(dim=0)) == len(told)  # each place its own


def test_nothing_hidden_is_as_without_a_mask_and_no_weight_is_left_out_of_the_graph() -> None:
    """A clean step of a distributed training must give every weight a gradient, be it 0."""
    model, image = completed_model(), faces(2)
    output = model(image, masks([16, 16]))
    for mine, same in zip(output, model(image)):
        torch.testing.assert_close(mine, same)
    output.logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_the_latent_loss_sees_hidden_places_only_and_overlooks_scale() -> None:
    visible = masks([10, 3])
    theirs = [torch.randn(2, 16, 8, requires_grad=True) for _ in range(2)]
    ours = [torch.where(visible[..., None], 7.0, 3 * t.detach() + 1) for t in theirs]

    def of(layers: list[Tensor]) -> Latents:
        return Latents(layers[-1], torch.arange(16).expand(2, 16), layers, None, layers[-1][:, 0])

    assert latent_loss(of(ours), of(theirs), visible, [0, 1]).item() == pytest.approx(0, abs=1e-4)
    wrong = [t.detach().flip(2).requires_grad_() for t in theirs]
    loss = latent_loss(of(wrong), of(theirs), visible, [1])
    loss.backward()
    assert loss > 0.1 and wrong[0].grad is None and all(t.grad is None for t in theirs)
    assert torch.equal(wrong[1].grad.abs().sum(-1) > 0, ~visible)
    assert latent_loss(of(wrong), of(theirs), torch.ones_like(visible), [0]) == 0


def options(*pairs: str) -> list[str]:
    return [f"--model.init_args.{pair}" for pair in pairs]


def test_the_student_completes_reads_several_masks_and_asks_the_teacher_once(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fit(fau_mae, "teacher", tiny_store, tmp_path / "teacher") == 0
    teacher = tmp_path / "teacher/checkpoints/last.ckpt"
    chosen = options("net.hidden=completed", "latent_weight=0.5", "views=[0.25, 0.75]")
    forward, read = AUModel.forward, []

    def noted(model: AUModel, image: Tensor, visible: Tensor | None = None, *rest, **more):
        frozen = not any(parameter.requires_grad for parameter in model.parameters())  # the teacher
        if torch.is_grad_enabled() or frozen:
            read.append(None if visible is None else round(1 - visible.float().mean().item(), 3))
        return forward(model, image, visible, *rest, **more)

    monkeypatch.setattr(AUModel, "forward", noted)
    assert fit(fau_mae, "student", tiny_store, tmp_path / "student", *chosen, init=teacher) == 0
    assert len(losses(tmp_path / "student")) == 2 and len(read) == 2 * 5
    for step in (read[:5], read[5:]):  # the teacher on the whole face and its mirror image, then three masks
        assert step[:2] == [None, None] and step[3:] == [0.25, 0.75]
    loaded = load_au_model(tmp_path / "student/checkpoints/last.ckpt")
    assert loaded.about.net.hidden == "completed"
    fresh = completed_model().completion.state_dict()
    learnt = loaded.model.completion.state_dict()
    assert learnt.keys() - fresh.keys() == set() and learnt["mask_token"].abs().sum() > 0


@pytest.mark.parametrize(
    ("chosen", "words"),
    [(["latent_weight=1"], "hidden=completed"), (["views=[1.5]"], "views is")],
)
def test_settings_that_do_not_fit_are_named(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys, chosen: list[str], words: str
) -> None:
    off = ["node_weight=0", "edge_weight=0", "logit_weight=0"]
    assert fit(fau_mae, "dropped", tiny_store, tmp_path / "s", *options(*off, *chosen)) == 2
    assert words in capsys.readouterr().err
