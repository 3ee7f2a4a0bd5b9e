"""Ctrl-C and SIGTERM at work in every command: one line, 128 + signal, and nothing left running or behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from fixtures_processes import alive_below, fit_line, is_alive, start_command

from data_modules.stores.store import FaceStore

BOTH = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def stopped(
    folder: Path, line: list[object], signum: int, ready: Callable[[], object], group: bool = False
) -> tuple[int, str, str]:
    """Start `fau-mae LINE`, send it a signal once `ready` -> exit code, stdout, stderr; nothing of it may be left."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    process = start_command(folder, line, TMPDIR=str(scratch))
    deadline = time.monotonic() + 120
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    family = alive_below(process.pid)
    (os.killpg if group else os.kill)(process.pid, signum)
    out, err = process.communicate(timeout=60)
    deadline = time.monotonic() + 5
    while (left := [pid for pid in family if is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left, [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left]
    assert [path.name for path in scratch.iterdir() if not path.name.startswith("torchinductor")] == []
    return process.returncode, out, err


def one_line(err: str) -> str:
    (line,) = err.strip().splitlines()
    return line


@pytest.mark.parametrize("group", [False, True], ids=["process", "group"])
@pytest.mark.parametrize(("signum", "code"), BOTH)
def test_prepare_ends_its_workers_and_goes_on(tmp_path: Path, signum: int, code: int, group: bool) -> None:
    """Also when, as from a terminal, the signal goes to the workers, too."""
    line = ["prepare", "synthetic", "--identities", "40", "--frames", "2", "--size", "32", "--workers", "2"]
    line += ["--out", "store"]
    parts = lambda: list(tmp_path.glob("store.preparing/parts/*.arrow"))  # noqa: E731
    status, _, err = stopped(tmp_path, line, signum, parts, group)
    assert status == code
    assert one_line(err) == f"fau-mae: stopped by {signum.name}; the same command goes on from here"
    assert parts() and not (tmp_path / "store").exists()


def pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 255, (128, 128, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), noise)
    return folder


@pytest.mark.parametrize(("signum", "code"), BOTH)
def test_occlude_leaves_nothing(tmp_path: Path, signum: int, code: int) -> None:
    pictures(tmp_path / "faces", 400)
    begun = lambda: list(tmp_path.rglob("*.mask.png"))  # noqa: E731
    status, _, err = stopped(tmp_path, ["occlude", "faces", "--out", "new/out"], signum, begun)
    assert status == code and one_line(err) == f"fau-mae: stopped by {signum.name}"
    assert not begun() and not list(tmp_path.glob("new/*"))


@pytest.mark.parametrize(("signum", "code"), BOTH)
def test_report_leaves_nothing(
    tmp_path: Path, report_experiments: list[Path], signum: int, code: int
) -> None:
    """From the moment on at which it holds its output."""
    begun = lambda: list(tmp_path.glob("pages/.*"))  # noqa: E731
    line = ["report", *report_experiments, "--out", "pages/page.html"]
    status, _, err = stopped(tmp_path, line, signum, begun)
    assert status == code and one_line(err) == f"fau-mae: stopped by {signum.name}"
    assert not (tmp_path / "pages").exists()


@pytest.mark.parametrize(("signum", "code"), BOTH)
def test_detect_leaves_nothing(tmp_path: Path, teacher: Path, signum: int, code: int) -> None:
    pictures(tmp_path / "faces", 300)
    begun = lambda: list(tmp_path.glob("new/.*/*.png"))  # noqa: E731
    line = ["detect", "faces", "--checkpoint", teacher, "--out", "new/out"]
    status, _, err = stopped(tmp_path, line, signum, begun)
    assert status == code and one_line(err) == f"fau-mae: stopped by {signum.name}"
    assert not begun() and not list(tmp_path.glob("new/*"))


@pytest.mark.parametrize(("signum", "code"), BOTH)
def test_a_training_that_is_stopped_before_its_first_step(
    tiny_store: FaceStore, tmp_path: Path, signum: int, code: int
) -> None:
    """While it reads its settings or builds: there is no step to finish, and no `finished`."""
    line = fit_line("pretrain", tiny_store, tmp_path / "p")
    begun = lambda: (tmp_path / "p").exists()  # noqa: E731
    status, _, err = stopped(tmp_path, line, signum, begun)
    assert status == code and "Traceback" not in err and err.count("stopped by") == 1
    assert not (tmp_path / "p" / "finished").exists()


def test_evaluate_keeps_what_it_has_and_goes_on(tiny_store: FaceStore, teacher: Path, tmp_path: Path) -> None:
    line = ["evaluate", "--checkpoint", teacher, "--data", tiny_store.path, "--out", "scores"]
    line += ["--kinds", "patches", "block", "eyes", "mouth", "upper", "lower", "left", "right", "hand"]
    begun = lambda: list(tmp_path.glob("scores/**/*.parquet"))  # noqa: E731
    status, _, err = stopped(tmp_path, line, signal.SIGTERM, begun)
    assert (
        status == 143 and one_line(err) == "fau-mae: stopped by SIGTERM; the same command goes on from here"
    )
    assert begun() and not (tmp_path / "scores" / "results.parquet").exists()
    assert not list(tmp_path.glob("scores/**/*.part"))


def test_what_nohup_ignores_stays_ignored(tmp_path: Path) -> None:
    pictures(tmp_path / "faces", 40)
    line = [sys.executable, "-m", "fau_mae.cli", "occlude", "faces", "--out", "out", "--kind", "patches"]
    process = subprocess.Popen(
        line,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        stdout=subprocess.DEVNULL,
    )
    while not list(tmp_path.rglob("*.mask.png")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0 and len(list(tmp_path.glob("out/*/*/*.mask.png"))) == 120


@pytest.mark.slow
@pytest.mark.parametrize(("signum", "code"), BOTH)
def test_a_sweep_ends_its_trials_and_ray_also_under_a_long_temporary_folder(
    tiny_store: FaceStore, tmp_path: Path, signum: int, code: int
) -> None:
    """In the folder that it stands in (`--out .`), where a folder called `ray` is somebody else's."""
    pytest.importorskip("ray")
    fit = fit_line(
        "pretrain", tiny_store, Path("runs/{trial}/pretrain"), "--trainer.max_epochs=500", "${args}"
    )
    config = {
        "program": "fau-mae",
        "command": ["${program}", *fit],
        "method": "random",
        "run_cap": 2,
        "metric": {"name": "val/loss", "goal": "minimize"},
        "parameters": {"data.seed": {"distribution": "q_uniform", "min": 0, "max": 8, "q": 2}},
    }
    folder = tmp_path / ("l" * 80)
    (folder / "ray").mkdir(parents=True)
    (folder / "sweep.yaml").write_text(yaml.safe_dump(config))
    training = lambda: len(list(folder.glob("trial-*/**/metrics.csv"))) == 2  # noqa: E731
    status, _, err = stopped(folder, ["sweep", "sweep.yaml", "--out", "."], signum, training)
    assert status == code
    assert one_line(err) == f"fau-mae: stopped by {signum.name}; the same command goes on from here"
    left = {path.name for path in folder.iterdir()}
    assert left == {"ray", "sweep.yaml", "scratch", "trial-0000", "trial-0001"}
