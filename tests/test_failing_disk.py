"""A disk that fails, or a signal, at any moment of `detect` and `occlude`: one line, and all is as it was."""

import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from fixtures_datasets import numbered_frame

from data_modules.errors import Stopped
from fau_mae.inference.predictor import Reading

Run = Callable[..., int]
STEPS = (
    "write_bytes",
    "replace",
    "rename",
    "mkdir",
    "open",
    "rmdir",
)  # of pathlib: by these alone files come to be
LINES = {
    "detect": ["detect", "in", "--out", "out", "--checkpoint", "stub"],
    "occlude": ["occlude", "in", "--out", "out", "--kind", "patches", "--severity", "0.5"],
}
FAULTS = [
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 2, "No space left on device"),
    (OSError(errno.EROFS, os.strerror(errno.EROFS)), 2, "Read-only file system"),
    (OSError(errno.EIO, os.strerror(errno.EIO)), 2, "the disk reports a fault"),
    (Stopped(signal.SIGTERM), 143, "stopped by SIGTERM"),
    (Stopped(signal.SIGINT), 130, "stopped by SIGINT"),
]


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two pictures, and a model that costs nothing."""
    (tmp_path / "in").mkdir()
    for number in range(2):
        cv2.imwrite(str(tmp_path / "in" / f"{number}.png"), numbered_frame(number, face=number == 1)[:220])

    def read(crops: np.ndarray, visible: np.ndarray | None) -> Reading:
        values = crops.mean((1, 2)) / 255  # (B, 3)
        return Reading(values, visible, (values > 0.5).astype(float), values)

    model = SimpleNamespace(
        read=read,
        aus=(1, 2, 4),
        image_size=48,
        grid=4,
        preset="canonical",
        device=torch.device("cpu"),
    )
    monkeypatch.setattr("fau_mae.inference.predict.load", lambda path, device, detector: model)
    return tmp_path / "in"


@contextmanager
def failing(at: int, error: BaseException) -> Iterator[list[str]]:
    """Step `at` of all that change the disk raises `error`, once. Yields the steps that were taken."""
    taken: list[str] = []
    here = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:

        def wrap(name: str) -> None:
            step = getattr(Path, name)

            def failing_step(path: Path, *args: Any, **options: Any) -> Any:
                if path.is_absolute() and not path.is_relative_to(here):
                    return step(path, *args, **options)  # a library's cache
                if name != "open" or args[:1] in (("w",), ("xb",), ("wb",)):
                    taken.append(name)
                    if len(taken) == at:
                        raise error
                return step(path, *args, **options)

            patch.setattr(Path, name, failing_step)

        for name in STEPS:
            wrap(name)
        yield taken


def state(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize("command", LINES)
@pytest.mark.parametrize("again", [False, True], ids=["new", "again"])
def test_whenever_it_fails_all_is_as_it_was(
    fau_mae: Run, capsys, tmp_path: Path, faces: Path, command: str, again: bool
) -> None:
    """Also where an earlier run of `detect` left its files, which a later one replaces."""
    if again and command == "occlude":  # it takes a new or an empty folder
        (tmp_path / "out").mkdir()
    elif again:
        assert fau_mae(*LINES[command]) == 0
        cv2.imwrite(str(faces / "0.png"), numbered_frame(9)[:200])
        cv2.imwrite(str(faces / "2.png"), numbered_frame(3)[:200])
    before = state(tmp_path)
    steps = 1
    while True:
        error, code, says = FAULTS[steps % len(FAULTS)]
        capsys.readouterr()
        with failing(steps, error) as taken:
            done = fau_mae(*LINES[command])
        if len(taken) < steps:
            break
        said = capsys.readouterr().err
        assert done == code and says in said and said.count("\n") == 1, (steps, taken[-1], said)
        assert state(tmp_path) == before, (steps, taken[-1])
        steps += 1
    assert done == 0 and steps > 15 and state(tmp_path) != before
    assert not list(tmp_path.rglob(".*"))


def test_the_steps_are_those_that_change_the_disk(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match="full"), failing(2, OSError(28, "full")) as taken:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "b").write_bytes(b"")
    assert taken == ["mkdir", "write_bytes"] and not list((tmp_path / "a").iterdir())


@pytest.mark.parametrize(
    "out", ["/dev/full", "/dev/null", "pipe", "in/0.png", "in", ".", "/proc/none", "x" * 300]
)
@pytest.mark.parametrize("command", LINES)
def test_only_a_new_folder_or_its_own_is_written_to(
    fau_mae: Run, capsys, tmp_path: Path, faces: Path, command: str, out: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = [path.stat().st_ino for path in sorted(tmp_path.rglob("*"))], Path("/dev/full").stat().st_rdev
    line = [out if word == "out" else word for word in LINES[command]]
    assert fau_mae(*line) == 2
    said = capsys.readouterr().err
    assert said.startswith("fau-mae: ") and said.count("\n") == 1
    after = [path.stat().st_ino for path in sorted(tmp_path.rglob("*"))], Path("/dev/full").stat().st_rdev
    assert before == after


@pytest.mark.parametrize("command", LINES)
def test_folders_called_nearly_like_the_output_are_left_alone(
    fau_mae: Run, tmp_path: Path, faces: Path, command: str
) -> None:
    for name in ("out.partial", "out.detecting", ".out.part", "out.preparing", ".out.1-00000000.part.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("a year's work")
    assert fau_mae(*LINES[command]) == 0
    assert len(list(tmp_path.rglob("thesis.txt"))) == 5


def test_detect_replaces_only_what_it_made(fau_mae: Run, capsys, tmp_path: Path, faces: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1.png").write_bytes(b"a stranger's")
    assert fau_mae(*LINES["detect"]) == 2
    assert "not of this command" in capsys.readouterr().err
    assert (tmp_path / "out/1.png").read_bytes() == b"a stranger's" and len(
        list((tmp_path / "out").iterdir())
    ) == 1
