"""A training that diverges ends in one line and leaves nothing that looks trained; what it saved before stays."""

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY
from fixtures_training import fit
from safetensors.torch import load_file, save_file

from data_modules.errors import Stopped
from data_modules.stores.store import FaceStore

FauMae = Callable[..., int]


@pytest.mark.parametrize(
    ("stage", "setting"),
    [
        ("pretrain", "--model.init_args.optim.lr=1e30"),
        ("teacher", "--model.init_args.optim.lr=1e38"),
        ("augmented", "--model.init_args.optim.weight_decay=1e38"),
        ("dropped", "--trainer.precision=bf16-mixed --model.init_args.optim.lr=1e30"),
    ],
)
def test_it_ends_in_one_line(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys, no_wandb, stage: str, setting: str
) -> None:
    out = tmp_path / stage
    more = ["--trainer.max_epochs=4", "--trainer.gradient_clip_val=null", *setting.split()]
    assert fit(fau_mae, stage, tiny_store, out, *more) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fau-mae:")]
    assert "diverged" in line and "step" in line and "optim.lr" in line
    assert not (out / "finished").exists()
    for kept in out.glob("checkpoints/*.ckpt"):
        state = torch.load(kept, weights_only=True)["state_dict"]
        assert all(bool(value.isfinite().all()) for value in state.values())


@pytest.fixture
def spoilt(fau_mae: FauMae, teacher: Path, tmp_path: Path) -> Path:
    """A teacher's weights with one number that is not finite."""
    whole = tmp_path / "whole.safetensors"
    assert fau_mae("save", teacher, "--out", whole) == 0
    from safetensors import safe_open

    with safe_open(whole, "pt") as file:
        said = file.metadata()
    state = load_file(whole)
    next(value for value in state.values() if value.ndim == 2)[0, 0] = float("inf")
    save_file(state, tmp_path / "spoilt.safetensors", said)
    return tmp_path / "spoilt.safetensors"


@pytest.mark.parametrize("command", ["detect", "evaluate", "init_from", "save"])
def test_weights_that_are_not_finite_are_refused(
    fau_mae: FauMae, tiny_store: FaceStore, spoilt: Path, tmp_path: Path, capsys, no_wandb, command: str
) -> None:
    out = tmp_path / "out.safetensors"
    if command == "detect":
        from PIL import Image

        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "face.png")
        done = fau_mae("detect", tmp_path / "face.png", "--out", out, "--checkpoint", spoilt)
    elif command == "evaluate":
        done = fau_mae("evaluate", "--checkpoint", spoilt, "--data", tiny_store.path, "--out", out)
    elif command == "init_from":
        done = fit(fau_mae, "augmented", tiny_store, out, init=spoilt)
    else:
        done = fau_mae("save", spoilt, "--out", out)
    assert done == 2 and "not finite" in capsys.readouterr().err
    assert not out.is_file() and not (out / "results.parquet").exists() and not (out / "finished").exists()


@pytest.mark.parametrize(
    "setting",
    [
        "--trainer.fast_dev_run=true",
        "--trainer.limit_train_batches=0",
        "--trainer.max_epochs=0",
        "--trainer.max_steps=0",
    ],
)
def test_a_rehearsal_is_not_finished(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, no_wandb, setting: str
) -> None:
    fit(fau_mae, "teacher", tiny_store, tmp_path / "teacher", setting)
    assert not (tmp_path / "teacher" / "finished").exists()


def test_training_again_takes_finished_away_until_it_ends(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, no_wandb, monkeypatch
) -> None:
    out = tmp_path / "teacher"
    assert fit(fau_mae, "teacher", tiny_store, out) == 0 and (out / "finished").exists()
    from fau_mae.tasks.teacher import Teacher

    def stopped(*_: object) -> None:
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr(Teacher, "training_step", stopped)
    assert fit(fau_mae, "teacher", tiny_store, out, "--ckpt_path=null") == 143
    assert not (out / "finished").exists()
    monkeypatch.undo()
    line = [
        "fit",
        "--config",
        "quickstart/teacher",
        "--out",
        out,
        f"--data.store={tiny_store.path}",
        *TINY,
    ]
    assert fau_mae(*line, "--model.init_args.init_from=null") == 0 and (out / "finished").exists()


def test_a_run_does_not_go_on_from_a_rehearsal(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys, no_wandb
) -> None:
    tiny = [word.removeprefix("--") for word in TINY]
    line = ["run", "quickstart", "--out", tmp_path / "run", "--store", tiny_store.path, "--set", *tiny]
    assert fau_mae(*line, "pretrain.trainer.limit_train_batches=0") == 2
    assert "not trained in earnest" in capsys.readouterr().err
    assert not (tmp_path / "run" / "fold1-seed0" / "teacher").exists()
