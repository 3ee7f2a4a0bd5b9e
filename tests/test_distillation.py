"""Distillation terms: 0 for a copy, above it otherwise, and each option does what its name says."""

from itertools import product

import numpy as np
import pytest
import torch
from fixtures_models import FACES
from torch import Tensor

from data_modules.errors import UserError
from data_modules.stores.store import FaceStore
from fau_mae.distillation import LOSSES, DistilConfig, edge_loss, logit_loss, node_loss
from fau_mae.models.au_model import AUModel, AUModelConfig
from fau_mae.models.au_output import AUOutput
from fau_mae.tasks import Student

B, A, D, E = 3, 4, 6, 2
DISTANCES = ("mse", "cosine", "smooth_l1")
CONFIGS = [
    DistilConfig(distance, distance, passing, normalise, target, temperature)
    for distance, passing, normalise, target, temperature in product(
        DISTANCES, ("after", "before"), (False, True), ("edges", "relations"), (1.0, 3.0)
    )
]


def output(seed: int, width: int = D) -> AUOutput:
    torch.manual_seed(seed)
    shapes = [(B, A), (B, A, width), (B, A, A, E), (B, A, width), (B, A, A, E)]
    return AUOutput(*(torch.randn(shape, requires_grad=True) for shape in shapes))


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_0_for_a_copy_and_a_pull_on_the_student_alone(name: str, config: DistilConfig) -> None:
    teacher, student = output(0), output(1)
    assert LOSSES[name](teacher, teacher, config).item() == pytest.approx(0, abs=1e-5)
    value = LOSSES[name](student, teacher, config)
    value.backward()
    assert value > 1e-3 and all(x.grad is None for x in teacher)
    pulled = {field for field, x in zip(AUOutput._fields, student) if x.grad is not None and x.grad.any()}
    first = "first_" if config.message_passing == "before" else ""
    edges = "nodes" if config.edge_target == "relations" else "edges"
    assert pulled == {"node": {f"{first}nodes"}, "edge": {first + edges}, "logit": {"logits"}}[name]


def changed(source: AUOutput, **fields: Tensor) -> AUOutput:
    return AUOutput(*(x.detach() for x in source._replace(**fields)))


def test_what_each_distance_overlooks() -> None:
    """Cosine overlooks length; normalised nodes overlook offset and scale; MSE overlooks neither."""
    teacher = output(0)
    longer, shifted = changed(teacher, nodes=2 * teacher.nodes), changed(teacher, nodes=2 * teacher.nodes + 1)
    for distance in DISTANCES:
        plain, normalised = DistilConfig(distance), DistilConfig(distance, normalise_nodes=True)
        assert bool(node_loss(longer, teacher, plain) < 1e-6) == (distance == "cosine")
        assert node_loss(shifted, teacher, plain) > 1e-2
        assert node_loss(shifted, teacher, normalised).item() == pytest.approx(0, abs=1e-4)


def test_smooth_l1_grows_linearly_where_mse_grows_with_the_square() -> None:
    teacher = output(0)
    far, farther = (changed(teacher, edges=teacher.edges + by) for by in (10.0, 20.0))
    ratio = {
        distance: float(
            edge_loss(farther, teacher, DistilConfig(edge_distance=distance))
            / edge_loss(far, teacher, DistilConfig(edge_distance=distance))
        )
        for distance in ("mse", "smooth_l1")
    }
    assert ratio["mse"] == pytest.approx(4, rel=1e-3) and ratio["smooth_l1"] == pytest.approx(
        19.5 / 9.5, rel=1e-3
    )


def test_relations_compare_heads_of_any_width_and_overlook_a_rotation() -> None:
    teacher, config = output(0), DistilConfig(edge_target="relations")
    rotation = torch.linalg.qr(torch.randn(D, D))[0]
    assert edge_loss(changed(teacher, nodes=teacher.nodes @ rotation), teacher, config) < 1e-6
    wider = output(1, width=2 * D)
    assert edge_loss(wider, teacher, config) > 0
    with pytest.raises(UserError, match=f"nodes are {2 * D} wide"):
        node_loss(wider, teacher, config)


def test_temperature_tends_to_matching_logits() -> None:
    """At a high temperature the gradient is that of a mean squared error between logits, over 4."""
    teacher, student = output(0), output(1)
    logit_loss(student, teacher, DistilConfig(temperature=100.0)).backward()
    wanted = (student.logits - teacher.logits).detach() / (4 * B * A)
    torch.testing.assert_close(student.logits.grad, wanted, atol=1e-4, rtol=1e-2)


def test_the_ramp_rises_once_and_stays() -> None:
    assert [DistilConfig(ramp_share=0.5).ramp(step, 8) for step in range(8)] == [
        0.25,
        0.5,
        0.75,
        1,
        1,
        1,
        1,
        1,
    ]
    assert DistilConfig().ramp(0, 8) == 1


def test_a_mirrored_target_is_the_mean_over_face_and_mirror_image(tiny_store: FaceStore) -> None:
    model = AUModel(AUModelConfig("nano", "gradient"), FACES).eval()
    student = Student(distil=DistilConfig(mirrored=True))
    student._teacher = [model]
    faces = torch.from_numpy(np.stack([tiny_store.image(row) for row in range(3)])).permute(0, 3, 1, 2)
    target, latents = student._target(faces)
    for field, one, other in zip(target._fields, model(faces), model(faces.flip(3))):
        torch.testing.assert_close(getattr(target, field), (one + other) / 2)
    assert not torch.allclose(target.logits, model(faces).logits)
    torch.testing.assert_close(latents.tokens, model.encoder(faces).tokens)
