"""Options of the training stages through the real command line: each reaches training and the checkpoint."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fixtures_training import fit, losses

from data_modules.stores.store import FaceStore
from fau_mae.weights.checkpoints import load_au_model

FauMae = Callable[..., int]
GRAPH = ["--model.init_args.net.head=me_graphau", "--model.init_args.net.head_options.node_width=16"]


def option(*pairs: str) -> list[str]:
    return [f"--model.init_args.{pair}" for pair in pairs]


def last(out: Path) -> Path:
    return out / "checkpoints" / "last.ckpt"


def test_me_graphau_teaches_and_distils_on_the_quickstart(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path
) -> None:
    """Teacher with the published loss; a student of it whose norms keep the teacher's statistics."""
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    published = option("loss.kind=asymmetric", "loss.balance=aus", "loss.edge_states=0.05")
    assert fit(fau_mae, "teacher", tiny_store, teacher, *GRAPH, *published) == 0
    frozen = option(
        "net.head_options.frozen_norms=true", "distil.message_passing=before", "distil.normalise_nodes=true"
    )
    assert fit(fau_mae, "student", tiny_store, student, *GRAPH, *frozen, init=last(teacher)) == 0
    assert len(losses(teacher)) == len(losses(student)) == 2
    taught, distilled = load_au_model(last(teacher)), load_au_model(last(student))
    for name, value in taught.model.named_buffers():
        assert torch.equal(value, distilled.model.get_buffer(name)), name
    faces = torch.randint(0, 256, (2, 3, 48, 48), dtype=torch.uint8)
    probabilities = distilled.model(faces).logits.sigmoid()
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert not torch.equal(taught.model(faces).logits.sigmoid(), probabilities)


def test_every_distillation_option_changes_what_the_student_learns(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path
) -> None:
    teacher = tmp_path / "teacher"
    assert fit(fau_mae, "teacher", tiny_store, teacher) == 0
    seen = set()
    for number, options in enumerate(
        (
            [],
            ["node_distance=mse"],
            ["edge_distance=smooth_l1"],
            ["edge_target=relations"],
            ["message_passing=before"],
            ["normalise_nodes=true"],
            ["temperature=4"],
            ["ramp_share=1"],
        )
    ):
        out = tmp_path / f"student{number}"
        chosen = option(*(f"distil.{text}" for text in options))
        assert fit(fau_mae, "student", tiny_store, out, *chosen, init=last(teacher)) == 0
        seen.add(tuple(losses(out)))
    assert len(seen) == 8


@pytest.mark.parametrize(
    ("stage", "options", "words"),
    [
        ("teacher", ["loss.edge_states=0.1"], "me_graphau"),
        ("teacher", ["net.head=nothing"], "nothing"),
        ("teacher", ["loss.kind=hinge"], "hinge"),
        ("teacher", ["loss.gama=1"], "focal_gamma"),
    ],
)
def test_options_that_do_not_fit_end_in_one_line(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys, stage: str, options: list[str], words: str
) -> None:
    assert fit(fau_mae, stage, tiny_store, tmp_path / stage, *option(*options)) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("fau-mae: ") and words in line
