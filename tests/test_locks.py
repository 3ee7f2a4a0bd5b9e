"""Two commands on one output at once: the second is refused by name, or waits; the lock ends with its owner."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fixtures_processes import fit_line, start_command
from fixtures_results import write_experiment

from data_modules.errors import UserError
from data_modules.locks import locked
from data_modules.stores.store import FaceStore

FauMae = Callable[..., int]
_HOLD = """
import sys
from pathlib import Path
from data_modules.locks import locked

with locked(Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_command(out: Path, name: str = "detect") -> Iterator[subprocess.Popen]:
    """Within the block, a process whose command line begins with `fau-mae NAME` holds `out`."""
    line = [sys.executable, "-c", _HOLD, name, str(out)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(line, stdin=pipe, stdout=pipe, text=True, cwd=Path(__file__).parent.parent)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.communicate()
    assert process.returncode in (0, -signal.SIGKILL)


def test_the_second_is_refused_by_name_and_nothing_stays(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "er" / "out"
    with another_command(out) as owner:
        refused = pytest.raises(
            UserError, match=rf"\(fau-mae detect .*process {owner.pid} on .*another --out"
        )
        with refused, locked(tmp_path / "deep" / ".." / "deep" / "er" / "out"):
            pass
        with locked(tmp_path / "deep" / "er" / "out2"):
            pass  # another output beside it
    with locked(out), locked(out):
        pass  # a command within a command
    assert list(tmp_path.iterdir()) == []


def test_a_lock_ends_with_its_owner(tmp_path: Path) -> None:
    with another_command(tmp_path / "out") as owner:
        owner.kill()
        owner.wait()
        assert [path.name for path in tmp_path.iterdir()] == [".out.lock"]
        with locked(tmp_path / "out"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_who_waits_goes_on_once_the_other_is_done(tmp_path: Path, capsys) -> None:
    with another_command(tmp_path / "store", "prepare") as owner:
        os.kill(owner.pid, signal.SIGSTOP)  # so that the waiting is sure to begin before the other ends
        signal.signal(signal.SIGALRM, lambda *_: (owner.kill(), os.kill(owner.pid, signal.SIGCONT)))
        signal.setitimer(signal.ITIMER_REAL, 1)
        began = time.monotonic()
        with locked(tmp_path / "store", wait=True):
            assert time.monotonic() - began >= 0.9
    assert capsys.readouterr().out.startswith(f"waiting for {tmp_path / 'store'}")


def test_a_link_to_a_folder_a_long_name_and_a_device(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with another_command(tmp_path / "real"), pytest.raises(UserError), locked(tmp_path / "link"):
        pass
    long = tmp_path / ("n" * 250)
    with another_command(long), pytest.raises(UserError), locked(long):
        pass
    with locked(Path("/dev/null")):
        assert not Path("/dev/.null.lock").exists()
    with locked(Path("/")), locked(tmp_path / "real" / "file" / "x"):
        pass
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["link", "real"]


@pytest.mark.parametrize(
    "line",
    [
        ["prepare", "synthetic", "--identities", "2", "--frames", "1", "--size", "32", "--out", "OUT"],
        ["detect", "faces", "--out", "OUT"],
        ["occlude", "faces", "--out", "OUT"],
        ["evaluate", "--checkpoint", "c.ckpt", "--data", "store", "--out", "OUT"],
        ["evaluate-predictions", "table.csv", "--out", "OUT"],
        ["report", "run", "--out", "OUT"],
        ["results", "run", "--out", "OUT"],
        ["save", "c.ckpt", "--out", "OUT"],
        ["dashboard", "run", "--spec", "OUT"],
    ],
    ids=lambda line: line[0],
)
def test_every_command_that_writes_is_refused(
    fau_mae: FauMae, tmp_path: Path, capsys, line: list[str]
) -> None:
    out = tmp_path / "out.safetensors"
    with another_command(out, "occlude"):
        assert fau_mae(*[out if word == "OUT" else word for word in line]) == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert error.startswith(
        f"fau-mae: {out} is being written by another command (fau-mae occlude {out}, process"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_stage_and_a_fold_are_one_command_s(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys, no_wandb: None
) -> None:
    stage = tmp_path / "run" / "fold1-seed0" / "pretrain"
    with another_command(stage, "fit"):
        assert fau_mae(*fit_line("pretrain", tiny_store, stage)) == 2
        assert f"{stage} is being written" in capsys.readouterr().err
    assert not stage.exists()
    line = [
        "run",
        "quickstart",
        "--store",
        tiny_store.path,
        "--out",
        tmp_path / "run",
        "--set",
        "data.grid=4",
    ]
    with another_command(tmp_path / "run" / "fold1-seed0", "run"):
        assert fau_mae(*line) == 2
        assert "fold1-seed0 is being written" in capsys.readouterr().err


def test_of_two_trainings_of_one_stage_one_is_trained(tiny_store: FaceStore, tmp_path: Path) -> None:
    """Started in the same moment."""
    line = fit_line("pretrain", tiny_store, tmp_path / "p")
    two = [start_command(tmp_path, line, WANDB_MODE="disabled") for _ in range(2)]
    ended = [process.communicate(timeout=200) for process in two]
    codes = sorted(process.returncode for process in two)
    assert codes in ([0, 2], [0, 0]), ended  # the second may have come when all was over
    assert not any("Traceback" in err for _, err in ended)
    assert (tmp_path / "p" / "finished").exists() and not list(tmp_path.glob(".*.lock"))


@pytest.mark.slow
def test_two_runs_of_different_folds_share_a_folder(tiny_store: FaceStore, tmp_path: Path) -> None:
    """Both train beside each other; the same command with all folds then makes the table of both."""
    from conftest import TINY

    sets = [word for flag in TINY for word in ("--set", flag.removeprefix("--"))]
    line = ["run", "quickstart", "--store", tiny_store.path, "--out", "run", *sets, "--folds"]
    two = [start_command(tmp_path, [*line, fold], WANDB_MODE="disabled") for fold in "12"]
    ended = [process.communicate(timeout=500) for process in two]
    assert [process.returncode for process in two] == [0, 0], ended
    both = start_command(tmp_path, [*line, "1,2"], WANDB_MODE="disabled")
    shown = both.communicate(timeout=200)[0]
    assert both.returncode == 0 and "fold 2" in shown and "fold1-seed0: pretrain" not in shown


def test_the_experiment_of_results_is_only_read(fau_mae: FauMae, tmp_path: Path) -> None:
    """A report of a run that is being written goes into its own file."""
    run = write_experiment(tmp_path / "run")
    with another_command(run, "run"):
        assert fau_mae("report", run, "--out", tmp_path / "page.html") == 0
