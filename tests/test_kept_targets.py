"""What the teacher told is kept: students of one teacher and seed ask it once, and learn the same to the bit."""

import dataclasses
from pathlib import Path

import pytest
import torch
from fixtures_training import FauMae, assert_same_training, fit

from data_modules.stores.store import FaceStore
from fau_mae.models.au_output import AUOutput
from fau_mae.runs.experiment import Experiment, load_experiment
from fau_mae.runs.plan import plan_stages
from fau_mae.tasks import Student
from fau_mae.tasks.kept_targets import KeptTargets

MORE = ["--trainer.max_epochs=2"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Faces of each batch that a teacher was asked for."""
    counts: list[int] = []
    ask = Student._ask

    def counting(self: Student, clean: torch.Tensor):
        counts.append(len(clean))
        return ask(self, clean)

    monkeypatch.setattr(Student, "_ask", counting)
    return counts


@pytest.mark.usefixtures("no_wandb")
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_second_student_asks_nothing_and_learns_the_same(
    fau_mae: FauMae, tiny_store: FaceStore, teacher: Path, asked: list[int], tmp_path: Path, mirrored: bool
) -> None:
    more = [*MORE, f"--model.init_args.distil.mirrored={mirrored}"]
    kept = [*more, f"--model.init_args.targets={tmp_path / 'targets'}"]
    for name, options in {"anew": more, "first": kept, "second": kept}.items():
        asked.append(0)
        assert fit(fau_mae, "student", tiny_store, tmp_path / name, *options, init=teacher) == 0
    assert asked == 2 * [0, 4, 4, 4, 4] + [0]
    for name in ("first", "second"):
        assert_same_training(tmp_path / name, tmp_path / "anew")


@pytest.mark.usefixtures("no_wandb")
def test_other_weights_of_the_loss_share_answers_and_other_faces_do_not(
    fau_mae: FauMae, tiny_store: FaceStore, teacher: Path, asked: list[int], tmp_path: Path
) -> None:
    kept = f"--model.init_args.targets={tmp_path / 'targets'}"
    lines = {
        "first": ([], 2),
        "weights": (["--model.init_args.node_weight=0", "--model.init_args.optim.lr=1e-4"], 0),
        "masks": (["--data.occlusion.severity_range=[0.5,0.9]", "--model.init_args.views=[0.5]"], 0),
        "mirrored": (["--model.init_args.distil.mirrored=false"], 2),
        "seed": (["--data.seed=1"], 2),
    }
    for name, (more, count) in lines.items():
        asked.clear()
        assert fit(fau_mae, "student", tiny_store, tmp_path / name, kept, *more, init=teacher) == 0
        assert len(asked) == count, name


def output(seed: int, faces: int = 3) -> AUOutput:
    torch.manual_seed(seed)
    shapes = [(faces, 5), (faces, 5, 6), (faces, 5, 5, 2), (faces, 5, 6), (faces, 5, 5, 2)]
    return AUOutput(*map(torch.randn, shapes))


def test_answers_are_found_under_their_own_faces_and_teacher_alone(tmp_path: Path) -> None:
    faces = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    kept, cpu = KeptTargets(tmp_path / "kept", ["teacher"], 1e6), torch.device("cpu")
    told = output(0)
    kept.keep(kept.key(faces), told)
    same = told._replace(first_edges=told.edges)
    kept.keep(kept.key(faces.flip(3)), same)
    for clean, expected in ((faces, told), (faces.flip(3), same)):
        found = kept.find(kept.key(clean), cpu)
        assert found is not None and all(map(torch.equal, found, expected))
    changed = faces.clone()
    changed[2, 1, 4, 4] ^= 1
    assert kept.find(kept.key(changed), cpu) is None and kept.find(kept.key(faces[:2]), cpu) is None
    assert kept.find(kept.key(faces.view(3, 3, 4, 16)), cpu) is None
    other = KeptTargets(tmp_path / "kept", ["another teacher"], 1e6)
    assert other.find(other.key(faces), cpu) is None


@pytest.mark.parametrize("size", [0, 7, -9])
def test_a_damaged_answer_is_asked_again(tmp_path: Path, size: int) -> None:
    kept, faces = KeptTargets(tmp_path, ["teacher"], 1e6), torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    kept.keep(kept.key(faces), output(1))
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:size])
    assert kept.find(kept.key(faces), torch.device("cpu")) is None
    kept.keep(kept.key(faces), output(2))
    found = kept.find(kept.key(faces), torch.device("cpu"))
    assert found is not None and torch.equal(found.nodes, output(2).nodes)


def test_the_folder_is_bounded_for_all_who_share_it(tmp_path: Path) -> None:
    faces = torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1).expand(20, 3, 8, 8)
    one = KeptTargets(tmp_path, ["teacher"], 1e9)
    one.keep(one.key(faces[:1]), output(0))
    (file,) = tmp_path.iterdir()
    limit = 4.5 * file.stat().st_size
    for _ in range(2):
        kept = KeptTargets(tmp_path, ["teacher"], limit)
        for face in range(1, 20):
            kept.keep(kept.key(faces[face : face + 1]), output(face))
    assert len(list(tmp_path.iterdir())) == 5  # the last one begun while there was room


def test_a_full_disk_ends_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    kept, faces = KeptTargets(tmp_path / "kept", ["teacher"], 1e6), torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    kept.keep(kept.key(faces), output(1))
    assert kept.find(kept.key(faces), torch.device("cpu")) is None and not list(tmp_path.rglob("*.*"))


def test_a_run_keeps_answers_where_several_students_share_a_teacher(tmp_path: Path) -> None:
    experiment, alone = load_experiment("synthetic"), load_experiment("quickstart")

    def told(experiment: Experiment) -> set[str]:
        plans = plan_stages(experiment, tmp_path, tmp_path / "store", 1, 0)
        return {plan.name for plan in plans if "--model.init_args.targets" in plan.line}

    assert told(alone) == set() and told(experiment) == {"student", "augmented_distilled"}
    students = told(dataclasses.replace(experiment, ablate=True))
    assert {"student", "logit_only", "from_random"} <= students
    assert not students & {"pretrain", "teacher", "augmented", "dropped", "detector"}
