"""Good inputs for every command, and a drive of the command line that holds it to how a command may end."""

import json
import os
import re
import resource
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import TINY
from fixtures_datasets import write_bp4d, write_disfa
from fixtures_results import write_experiment
from hostile_files import HOSTILE
from hostile_lines import STAGES, Spot
from skimage.data import astronaut

from data_modules.errors import PART
from data_modules.stores.store import FaceStore
from fau_mae.run_folder import FINISHED, RunMemory, write_memory
from fau_mae.runs.request import Request

SECONDS = 20
# Bytes more than there are: what reads an endless device meets its end before the machine.
_MEMORY = 6 * 2**30
# Go on where they were stopped, so that what they leave is no fault; marks of what is finished are.
_RESUMABLE = ("prepare", "run", "sweep", *STAGES)
_MARKS = {FINISHED, "results.parquet", "report.html", "store.json", "manifest.csv", "aus.csv", "metrics.json"}
_USAGE = re.compile(r"usage: .*\nfau-mae[^\n]*: error: [^\n]+\n", re.DOTALL)
_LINE = re.compile(r"fau-mae: [^\n]+\n")


@dataclass(frozen=True)
class Bench:
    """Good inputs of every kind, which no command may change, and the hostile ones."""

    store: Path
    checkpoint: Path  # a teacher
    student: Path
    run: Path  # finished
    faces: Path  # folder of two pictures
    labels: Path  # of them
    table: Path  # of another model's action units
    bp4d: Path
    disfa: Path
    hostile: dict[str, Path]
    root: Path

    def fill(self, word: str) -> str:
        """`{store}` and its like as paths."""
        return str(getattr(self, word[1:-1])) if word.startswith("{") else word


def make_bench(root: Path, store: FaceStore, teacher: Path) -> Bench:
    from fau_mae.cli import main

    faces = root / "faces"
    faces.mkdir(parents=True)
    cv2.imwrite(str(faces / "a.png"), cv2.cvtColor(astronaut()[:256, 100:356], cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(faces / "b.png"), cv2.cvtColor(store.image(0), cv2.COLOR_RGB2BGR))
    (root / "labels.csv").write_text("file,AU6,AU12,subject\na.png,1,0,A\nb.png,0,1,B\n")
    truth = np.random.default_rng(0).integers(0, 2, 40)
    table = pd.DataFrame({"sample_id": range(40), "AU12": truth * 0.5 + 0.25, "AU12_label": truth})
    table.to_csv(root / "table.csv", index=False)
    run = write_experiment(root / "run", subjects=5, frames=12, severities=(0.25, 0.75))
    write_memory(run, RunMemory("quickstart", given=Request("quickstart").given(), done=[[1, 0]]))
    stage = ["fit", "--config", "quickstart/student", "--out", root / "student", f"--data.store={store.path}"]
    weights = [f"--model.init_args.{name}={teacher}" for name in ("init_from", "teacher")]
    assert main([str(word) for word in [*stage, *weights, *TINY]]) == 0
    return Bench(
        store=Path(shutil.copytree(store.path, root / "store")),
        checkpoint=Path(shutil.copy(teacher, root / "teacher.ckpt")),
        student=root / "student" / "checkpoints" / "last.ckpt",
        run=run,
        faces=faces,
        labels=root / "labels.csv",
        table=root / "table.csv",
        bp4d=write_bp4d(root / "bp4d", sequences=(("F001", "T1"), ("F003", "T1")), frames=1),
        disfa=write_disfa(root / "disfa", subjects=("SN001", "SN003"), frames=2),
        hostile=_make_all(root / "hostile"),
        root=root,
    )


def _make_all(folder: Path) -> dict[str, Path]:
    folder.mkdir()
    return {name: make(folder) for name, make in HOSTILE.items()}


def write_swept(folder: Path) -> None:
    """`sweep.yaml` and, in `swept`, all its trials done: a sweep that starts none."""
    command = ["${program}", "fit", "--config", "quickstart/pretrain", "--out", "swept/{trial}", "${args}"]
    sweep = {
        "program": "fau-mae", "command": command, "method": "grid", "metric": {"name": "val/loss", "goal": "minimize"},
        "parameters": {"model.init_args.optim.lr": {"values": [0.001]}},
    }  # fmt: skip
    (folder / "sweep.yaml").write_text(json.dumps(sweep))
    trial = {
        "number": 0,
        "parameters": {"model.init_args.optim.lr": 0.001},
        "state": "finished",
        "value": 2.0,
    }
    (folder / "swept" / "trial-0000").mkdir(parents=True)
    (folder / "swept" / "trial-0000" / "trial.json").write_text(json.dumps(trial | {"seconds": 1.0}))


def copy_swept(here: Path, to: Path) -> None:
    """The finished sweep under another name, where there can be one: Ray would start there, which takes long."""
    with suppress(OSError):
        shutil.copytree(here / "swept", os.path.realpath(to), dirs_exist_ok=True)


def cases(pairs: Iterable[tuple[Spot, str]], every: Callable[[Spot], int]) -> list[Any]:
    """A test of every so many of an option, of the next option others; as many again are slow."""
    places: dict[Spot, int] = {}
    count: Counter[Spot] = Counter()
    chosen = []
    for spot, name in pairs:
        place = (places.setdefault(spot, len(places)) + count[spot]) % every(spot)
        count[spot] += 1
        if place < 2:
            marks = [pytest.mark.slow] if place else []
            chosen.append(pytest.param(spot, name, marks=marks, id=f"{spot} - {name}"))
    return chosen


class Drive:
    """Runs lines in a folder of their own and looks at how each ended and what it left."""

    def __init__(self, bench: Bench, here: Path, run: Callable[..., int], capfd: pytest.CaptureFixture[str]):
        self.bench, self.here, self._run, self._capfd = bench, here, run, capfd

    def __call__(self, spot: Spot, words: list[str] | None) -> int:
        """Run the good line of a command with `words` in one place -> exit code."""
        line = spot.line(words, self.bench.fill)
        inputs, before = _state(self.bench.root), set(_names(self.here))
        self._capfd.readouterr()
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # as the console script has it
        with _limits(line):
            code = self._run(*line)
        out, err = self._capfd.readouterr()
        said = f"{line} -> {code}\n{out[-2000:]}\n--- stderr\n{err}"
        assert code in (0, 1, 2), said
        assert "Traceback (most" not in out + err, said
        if code == 2:
            assert _LINE.fullmatch(err) or _USAGE.fullmatch(err), said
        assert _state(self.bench.root) == inputs, f"an input was changed: {said}"
        left = set(_names(self.here)) - before
        assert not [name for name in left if PART in name or name.endswith((".lock", ".tmp"))], (left, said)
        if code == 2:
            resumes = spot.command.split()[0] in _RESUMABLE
            assert not [name for name in left if not resumes or Path(name).name in _MARKS], (left, said)
        return code


@contextmanager
def _limits(line: list[str]) -> Iterator[None]:
    """An end to what waits for ever or takes all memory."""

    class Hangs(BaseException):
        pass

    def ring(*_: object) -> None:
        raise Hangs(f"longer than {SECONDS} seconds: {line}")

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    status = Path("/proc/self/status")
    if status.exists() and (used := re.search(r"VmData:\s+(\d+) kB", status.read_text())):
        resource.setrlimit(resource.RLIMIT_DATA, (int(used[1]) * 1024 + _MEMORY, hard))
    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _names(folder: Path) -> Iterator[str]:
    for root, folders, names in os.walk(folder):
        yield from (os.path.join(root, name) for name in [*folders, *names])  # noqa: PTH118 - any name


def _state(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Of every file: which it is, its size and when it was last written."""
    found = {}
    for name in _names(folder):
        of = os.lstat(name)
        found[name] = (of.st_ino, of.st_size if not os.path.isdir(name) else 0, of.st_mtime_ns)  # noqa: PTH112
    return found
