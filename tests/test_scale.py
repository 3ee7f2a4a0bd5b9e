"""Two processes on this machine: replicated and sharded training, lost ranks, evaluation, the learning-rate rule."""

import csv
import signal
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from fixtures_processes import fit_line, in_processes

from data_modules.stores.store import FaceStore
from data_modules.synthetic import prepare_synthetic
from fau_mae.tasks.optim import OptimConfig, peak_lr

FauMae = Callable[..., int]
pytestmark = pytest.mark.usefixtures("no_wandb")
TWO = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--data.batch_size=2"]
SCRATCH = "--model.init_args.init_from=null"


def losses(out: Path) -> list[float]:
    with (out / "metrics.csv").open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


@pytest.fixture(scope="module")
def odd_store(tmp_path_factory: pytest.TempPathFactory) -> FaceStore:
    """9 people × 3 faces: 9 test faces, which two ranks cannot share evenly."""
    out = tmp_path_factory.mktemp("stores") / "odd"
    return prepare_synthetic(out, identities=9, frames=3, size=48, seed=6, workers=1, progress=False)


@pytest.fixture(scope="module")
def sharded(tiny_store: FaceStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher trained for two epochs of three steps over two processes that share its weights."""
    folder = tmp_path_factory.mktemp("sharded")
    done = in_processes(folder, _teacher(tiny_store, folder / "whole", "--trainer.strategy=sharded", *TWO))
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "whole"


def _teacher(store: FaceStore, out: Path, *more: str) -> list[str]:
    epochs = ["--trainer.max_epochs=2", "--trainer.limit_train_batches=3"]
    return fit_line(
        "teacher", store, out, *epochs, SCRATCH, "--checkpoint_minutes=0", "--ckpt_path=last", *more
    )


def test_sharded_training_has_the_losses_of_one_process(
    fau_mae: FauMae, tiny_store: FaceStore, sharded: Path, tmp_path: Path
) -> None:
    assert fau_mae(*_teacher(tiny_store, tmp_path / "one")) == 0
    assert len(losses(sharded)) == 6
    assert losses(sharded) == pytest.approx(losses(tmp_path / "one"), abs=1e-4)


def test_a_sharded_checkpoint_serves_the_next_stage_and_evaluate(
    fau_mae: FauMae, tiny_store: FaceStore, sharded: Path, tmp_path: Path
) -> None:
    checkpoint = sharded / "checkpoints" / "last.ckpt"
    weights = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(type(tensor) is torch.Tensor for tensor in weights.values())
    from_it = [f"--model.init_args.{name}={checkpoint}" for name in ("init_from", "teacher")]
    assert fau_mae(*fit_line("student", tiny_store, tmp_path / "student", *from_it)) == 0
    arguments = ["--checkpoint", checkpoint, "--data", tiny_store.path, "--out", tmp_path / "e"]
    assert fau_mae("evaluate", *arguments, "--kinds", "patches", "--severities", "0.5") == 0
    assert len(pd.read_parquet(tmp_path / "e" / "results.parquet"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "rank", "signum"),
    [("sharded", 0, signal.SIGTERM), ("ddp", 1, signal.SIGTERM), ("ddp", 1, signal.SIGKILL)],
)
def test_a_stopped_or_lost_rank_ends_the_stage_and_it_goes_on(
    tiny_store: FaceStore, tmp_path: Path, strategy: str, rank: int, signum: int
) -> None:
    """One of two ranks is told to stop, or is lost, inside an epoch: the same command ends where it would have."""
    line = lambda out: _teacher(tiny_store, out, f"--trainer.strategy={strategy}", *TWO)  # noqa: E731
    whole = in_processes(tmp_path, line(tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr[-3000:]
    cut = in_processes(tmp_path, line(tmp_path / "pieces"), (rank, 0, 1, signum))
    assert cut.returncode != 0 and not (tmp_path / "pieces" / "finished").exists()
    assert (tmp_path / "pieces" / "checkpoints" / "last.ckpt").exists()
    again = in_processes(tmp_path, line(tmp_path / "pieces"))
    assert again.returncode == 0, again.stderr[-3000:]
    assert losses(tmp_path / "pieces") == pytest.approx(losses(tmp_path / "whole"), abs=1e-6)


def test_each_test_face_counts_once_when_ranks_cannot_share_evenly(
    fau_mae: FauMae, odd_store: FaceStore, sharded: Path, tmp_path: Path
) -> None:
    """Two ranks read 5 + 5 of 9 faces, one of them twice; the metrics are those of one process over 9."""
    checkpoint = sharded / "checkpoints" / "last.ckpt"

    def line(out: Path, *more: str) -> list[str]:
        words = fit_line("teacher", odd_store, out, SCRATCH, f"--ckpt_path={checkpoint}", *more)
        return ["test", *(word for word in words[1:] if not word.startswith("--checkpoint_minutes"))]

    assert fau_mae(*line(tmp_path / "one")) == 0
    done = in_processes(tmp_path, line(tmp_path / "two", *TWO, "--trainer.strategy=ddp"))
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (pd.read_csv(tmp_path / name / "metrics.csv").iloc[-1] for name in ("one", "two"))
    scores = [name for name in one.index if name.startswith("test/")]
    assert scores and two[scores].to_numpy(float) == pytest.approx(
        one[scores].to_numpy(float), abs=1e-6, nan_ok=True
    )


def test_the_learning_rate_grows_with_the_faces_of_a_step() -> None:
    scaled = OptimConfig(lr=2e-4, reference_batch=256)
    assert peak_lr(scaled, 256) == 2e-4 and peak_lr(scaled, 512) == pytest.approx(4e-4)
    assert peak_lr(OptimConfig(lr=2e-4), 512) == 2e-4


def test_accumulated_batches_count_in_the_rate_that_is_used(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys
) -> None:
    """The quickstart's rate is meant for 32 faces: 4 faces × 2 accumulated batches make a quarter of it."""
    line = fit_line("teacher", tiny_store, tmp_path / "t", SCRATCH, "--trainer.accumulate_grad_batches=2")
    assert fau_mae(*line, "--model.init_args.optim.lr=0.008", "--model.init_args.optim.layer_decay=1") == 0
    assert "8 faces a step, peak learning rate 0.002" in capsys.readouterr().out
    state = torch.load(tmp_path / "t/checkpoints/last.ckpt", weights_only=True)
    assert {group["initial_lr"] for group in state["optimizer_states"][0]["param_groups"]} == {0.002}
