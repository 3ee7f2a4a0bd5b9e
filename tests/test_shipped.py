"""`shipped:NAME` wherever a checkpoint's file may be given; half precision; they know nobody of an experiment."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import TINY
from fixtures_models import faces
from fixtures_training import fit
from safetensors.torch import load_file

from data_modules.stores.store import FaceStore
from fau_mae.weights import shipped
from fau_mae.weights.checkpoints import load_au_model, read_own

FauMae = Callable[..., int]
pytestmark = pytest.mark.usefixtures("no_wandb")
SET = [word for flag in TINY for word in ("--set", flag.removeprefix("--"))]


@pytest.fixture
def box(fau_mae: FauMae, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of shipped weights, and in it a teacher."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "box")
    assert fau_mae("save", teacher, "--half", "--out", tmp_path / "box/teacher.safetensors") == 0
    return tmp_path / "box"


def test_half_precision_is_half_the_size_and_read_in_single(teacher: Path, box: Path) -> None:
    stored = load_file(box / "teacher.safetensors")
    assert {value.dtype for value in stored.values() if value.is_floating_point()} == {torch.float16}
    about, state = read_own(Path("shipped:teacher"))
    whole, exact = read_own(teacher)
    assert about == whole and {v.dtype for v in state.values() if v.is_floating_point()} == {torch.float32}
    assert all(torch.equal(value, exact[name].half().float()) for name, value in state.items())
    picture = faces(3)
    one, other = (load_au_model(path).model(picture).logits for path in (Path("shipped:teacher"), teacher))
    torch.testing.assert_close(one, other, atol=2e-2, rtol=0)


def test_a_weight_too_large_for_it_is_named(fau_mae: FauMae, teacher: Path, tmp_path: Path, capsys) -> None:
    large = torch.load(teacher, weights_only=True)
    name = next(name for name in large["state_dict"] if name.endswith("weight"))
    large["state_dict"][name].view(-1)[0] = 1e5
    torch.save(large, tmp_path / "large.ckpt")
    assert fau_mae("save", tmp_path / "large.ckpt", "--half", "--out", tmp_path / "l.safetensors") == 2
    assert f"{name} is too large for half precision" in capsys.readouterr().err
    assert not (tmp_path / "l.safetensors").exists()


def test_they_stand_wherever_a_file_does(
    fau_mae: FauMae, tiny_store: FaceStore, box: Path, tmp_path: Path
) -> None:
    for start in ("shipped:teacher", "encoder:shipped:teacher"):
        assert fit(fau_mae, "teacher", tiny_store, tmp_path / start, init=start) == 0
    assert fit(fau_mae, "student", tiny_store, tmp_path / "s", init="shipped:teacher") == 0
    line = ["evaluate", "--checkpoint", "shipped:teacher", "--data", tiny_store.path, "--out", "e"]
    assert fau_mae(*line, "--kinds", "patches", "--severities", "0.5") == 0
    results = pd.read_parquet("e/results.parquet")
    assert set(results["method"]) == {"teacher"} and set(results["checkpoint"]) == {"shipped:teacher"}


@pytest.mark.parametrize("name", ["student", "../teacher", "Teacher", ""])
def test_what_there_is_not_is_one_line_with_what_there_is(
    fau_mae: FauMae, tiny_store: FaceStore, box: Path, tmp_path: Path, capsys, name: str
) -> None:
    commands = [
        ["evaluate", "--checkpoint", f"shipped:{name}", "--data", tiny_store.path, "--out", "e"],
        ["detect", "photo.png", "--checkpoint", f"shipped:{name}", "--out", "d"],
        ["save", f"shipped:{name}", "--out", "w.safetensors"],
        ["run", "quickstart", "--mae", f"shipped:{name}", "--out", "r"],
    ]
    for command in commands:
        assert fau_mae(*command) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.endswith("no such weights come with this version; there are: shipped:teacher")
    (box / "teacher.safetensors").unlink()
    assert fau_mae(*commands[0]) == 2
    assert "there are: none" in capsys.readouterr().err


def test_an_experiment_whose_people_they_know_is_refused_before_any_work(
    fau_mae: FauMae, tiny_store: FaceStore, box: Path, capsys
) -> None:
    """Known by seed and number, so before the first face is rendered; and by the store, where one is given."""
    start = ["--set", "pretrain.model.init_args.init_from=encoder:shipped:teacher"]
    line = ["run", "quickstart", "--out", "r", *SET, *start]
    for more in (["prepare.seed=5"], ["prepare.seed=5", "prepare.first_identity=8"]):
        assert fau_mae(*line, "--set", *more) == 2
        (said,) = capsys.readouterr().err.strip().splitlines()
        assert said.startswith("fau-mae: shipped:teacher has met") and "(synthetic 5)" in said
    for more in ([], ["--dry-run"]):
        assert fau_mae(*line, "--store", tiny_store.path, *more) == 2
        assert "shipped:teacher has met" in capsys.readouterr().err and not Path("r").exists()


def test_an_experiment_of_other_people_starts_from_them(fau_mae: FauMae, box: Path, tmp_path: Path) -> None:
    changes = ["prepare.seed=5", "prepare.first_identity=9", "prepare.identities=6", "prepare.frames=2"]
    changes += ["prepare.size=48", "pretrain.model.init_args.init_from=shipped:teacher"]
    line = ["run", "quickstart", "--out", "r", "--stage", "pretrain", *SET, "--set", *changes]
    assert fau_mae(*line) == 0
    (also,) = read_own(tmp_path / "r/fold1-seed0/pretrain/checkpoints/last.ckpt")[0].data["also"]
    assert also["population"] == "synthetic 5" and "S00000" in also["people"]
