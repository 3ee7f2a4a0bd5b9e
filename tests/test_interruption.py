"""Signals, a full disk and SIGKILL: what is left is whole, and the same command ends as if nothing had happened."""

import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from conftest import TINY
from fixtures_processes import fit_line
from fixtures_training import assert_same_training, power_cut

from data_modules.stores.store import FaceStore

FauMae = Callable[..., int]
pytestmark = pytest.mark.usefixtures("no_wandb")


@pytest.fixture(scope="module")
def whole(tiny_store: FaceStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pre-training that nothing interrupted."""
    from fau_mae.cli import main

    out = tmp_path_factory.mktemp("whole") / "pretrain"
    assert main(line(tiny_store, out)) == 0
    return out


def line(store: FaceStore, out: Path) -> list[str]:
    return fit_line("pretrain", store, out, "--trainer.max_epochs=2", "--ckpt_path=last")


@contextmanager
def signal_at(epoch: int, step: int, signum: int) -> Iterator[None]:
    """Send this process `signum` while it trains this step of this epoch."""
    from fau_mae.tasks.stage import Stage

    begin = Stage.on_train_batch_start

    def send(module, batch, now: int) -> None:
        if (module.current_epoch, now) == (epoch, step):
            os.kill(os.getpid(), signum)
        begin(module, batch, now)

    with pytest.MonkeyPatch.context() as monkey:
        monkey.setattr(Stage, "on_train_batch_start", send)
        yield


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_the_step_and_stops(
    fau_mae: FauMae, tiny_store: FaceStore, whole: Path, tmp_path: Path, capsys, signum: int, code: int
) -> None:
    before = signal.getsignal(signum)
    with signal_at(1, 0, signum):
        assert fau_mae(*line(tiny_store, tmp_path / "p")) == code
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("fau-mae: stopped by SIG")
    assert signal.getsignal(signum) is before and not (tmp_path / "p" / "finished").exists()
    assert fau_mae(*line(tiny_store, tmp_path / "p")) == 0
    assert_same_training(whole, tmp_path / "p")


@pytest.mark.xfail(
    strict=False, reason="after many other tests scontrol is not called; alone it is: not understood"
)
def test_slurm_s_signal_requeues_the_job_and_the_next_one_goes_on(
    fau_mae: FauMae, tiny_store: FaceStore, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside a (pretended) job of one task, SIGUSR1 saves, asks `scontrol` for another turn, and stops."""
    called = tmp_path / "called"
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {called}\n')
    scontrol.chmod(0o755)
    with monkeypatch.context() as slurm:
        slurm.setenv("PATH", f"{scontrol.parent}:{os.environ['PATH']}")
        for name, value in {
            "JOB_ID": "77",
            "JOB_NAME": "fau",
            "NTASKS": "1",
            "PROCID": "0",
            "LOCALID": "0",
            "NODEID": "0",
            "NNODES": "1",
            "NODELIST": "localhost",
            "NTASKS_PER_NODE": "1",
        }.items():
            slurm.setenv(f"SLURM_{name}", value)
        with signal_at(1, 0, signal.SIGUSR1):
            assert fau_mae(*line(tiny_store, tmp_path / "p")) == 128 + signal.SIGUSR1
        assert called.read_text().split() == ["requeue", "77"]
        assert fau_mae(*line(tiny_store, tmp_path / "p")) == 0
    assert_same_training(whole, tmp_path / "p")


def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint_whole(
    fau_mae: FauMae, tiny_store: FaceStore, whole: Path, tmp_path: Path, capsys
) -> None:
    """The size a file may have stands in for the space of a disk: the second epoch's checkpoint does not fit."""
    with power_cut(1, 0), pytest.raises(RuntimeError, match="power cut"):
        fau_mae(*line(tiny_store, tmp_path / "p"))
    checkpoint = tmp_path / "p" / "checkpoints" / "last.ckpt"
    kept = checkpoint.read_bytes()
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, unlimited[1]))
    try:
        assert fau_mae(*line(tiny_store, tmp_path / "p")) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert re.search(
        r"fau-mae: \S+\.ckpt: File too large; .* run the same command again\n", capsys.readouterr().err
    )
    assert checkpoint.read_bytes() == kept and not list(tmp_path.rglob("*.part"))
    assert fau_mae(*line(tiny_store, tmp_path / "p")) == 0
    assert_same_training(whole, tmp_path / "p")


@pytest.mark.slow
def test_a_run_killed_five_times_ends_in_the_same_results(
    tiny_store: FaceStore, tmp_path: Path, capsys
) -> None:
    """SIGKILL at five random moments of all folds and seeds; `results.parquet` and `folds.csv` agree to the byte."""
    flags = [*TINY, "--ladder.severities=[0.5]", "--checkpoint_minutes=0"]
    chosen = [word for flag in flags for word in ("--set", flag.removeprefix("--"))]
    command = [
        sys.executable,
        "-m",
        "fau_mae.cli",
        "run",
        "quickstart",
        "--store",
        str(tiny_store.path),
        *chosen,
    ]
    command += ["--folds", "1,2,3", "--seeds", "0,1", "--out"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}

    def start(out: Path) -> subprocess.Popen:
        return subprocess.Popen([*command, str(out)], env=env, stdout=subprocess.PIPE, text=True)

    began = time.monotonic()
    table = start(tmp_path / "whole").communicate()[0]
    took = time.monotonic() - began
    seed = random.randrange(1000)
    moments = random.Random(seed)
    for _ in range(5):
        process = start(tmp_path / "killed")
        time.sleep(moments.uniform(0.05, 0.2) * took)
        process.kill()
        process.communicate()
    assert start(tmp_path / "killed").communicate()[0].endswith(table[-200:].replace("whole", "killed")), seed
    for name in ("results.parquet", "folds.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), seed
    for words in ("mean", "interval", "fold 1", "fold 3", "seed 0", "seed 1"):
        assert words in table


def test_a_training_that_ends_between_validations_keeps_its_last_step(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path
) -> None:
    ends = ["--trainer.max_steps=3", "--trainer.max_epochs=-1", "--trainer.check_val_every_n_epoch=5"]
    assert fau_mae(*fit_line("pretrain", tiny_store, tmp_path / "s", *ends)) == 0
    last = torch.load(tmp_path / "s/checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 3
