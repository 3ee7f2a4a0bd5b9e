"""Fixtures shared by the tests: a small rendered store, and the command line in this process."""

import os

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fixtures_results import write_experiment

from data_modules.stores.store import FaceStore
from data_modules.synthetic import prepare_synthetic

if TYPE_CHECKING:
    from hostile_drive import Bench, Drive

TINY = [  # makes any shipped stage run in seconds on `tiny_store`
    "--model.init_args.net.size=nano",
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=2",
    "--trainer.limit_val_batches=1",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_progress_bar=false",
    "--data.batch_size=4",
    "--data.num_folds=3",
    "--data.grid=4",
]


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> FaceStore:
    """9 people × 4 faces of 48 pixels."""
    out = tmp_path_factory.mktemp("stores") / "tiny"
    return prepare_synthetic(out, identities=9, frames=4, size=48, seed=5, workers=1, progress=False)


@pytest.fixture(scope="session")
def report_experiments(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Made-up results of one run, and of 2 folds × 2 seeds under a name that would break out of a script element."""
    root = tmp_path_factory.mktemp("experiments")
    small = {"subjects": 5, "frames": 12, "severities": (0.25, 0.75)}
    return [
        write_experiment(root / "plain", **small),
        write_experiment(root / "a<!--<script>&", folds=(1, 2), seeds=(0, 1), **small),
    ]


@pytest.fixture(scope="session")
def report_page(report_experiments: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    from fau_mae.evaluation.scored_run import read_run
    from fau_mae.reports.page import write_report

    out = tmp_path_factory.mktemp("page") / "deep" / "report.html"
    write_report([read_run(one) for one in report_experiments], out)
    return out


@pytest.fixture
def fau_mae(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Run `fau-mae ARGUMENTS…` in an empty folder of its own -> exit code."""
    from fau_mae.cli import main

    monkeypatch.chdir(tmp_path)
    return lambda *arguments: main([str(argument) for argument in arguments])


def refused(fau_mae: Callable[..., int], capsys: pytest.CaptureFixture[str], *line: object) -> str:
    """The one line with which a command that is no good ends, exit code 2."""
    capsys.readouterr()
    assert fau_mae(*line) == 2, line
    (said,) = capsys.readouterr().err.strip().splitlines()
    return said


@pytest.fixture
def no_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train without W&B runs: a second saved per stage, where they are not what is tested."""
    monkeypatch.setenv("WANDB_MODE", "disabled")


@pytest.fixture(scope="session")
def teacher(tiny_store: FaceStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a teacher, hardly trained."""
    from fixtures_training import fit

    from fau_mae.cli import main

    out = tmp_path_factory.mktemp("teacher") / "teacher"
    assert fit(lambda *a: main([str(x) for x in a]), "teacher", tiny_store, out) == 0
    return out / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="session")
def bench(tiny_store: FaceStore, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> "Bench":
    from hostile_drive import make_bench

    return make_bench(tmp_path_factory.mktemp("bench") / "of", tiny_store, teacher)


@pytest.fixture
def drive(
    bench: "Bench",
    fau_mae: Callable[..., int],
    no_wandb: None,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> "Drive":
    from hostile_drive import Drive, write_swept

    write_swept(tmp_path)
    return Drive(bench, tmp_path, fau_mae, capfd)
