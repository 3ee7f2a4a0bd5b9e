"""A disk that is full or read-only at any moment of a command: one line, nothing half-written, then as if it had room.

A command is run with a disk that takes no file from the n-th on; what it leaves afterwards, on a disk with room, is
what it leaves where there was room from the start.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import TINY
from fixtures_datasets import numbered_frame
from fixtures_disk import WAYS, full_disk
from fixtures_results import write_experiment
from fixtures_training import assert_same_training

from data_modules.stores.store import FaceStore

FauMae = Callable[..., int]
MUCH = 100_000  # files: more than any command makes
NOT_COMPARED = {"cost.json", "run.json", "board.json"}  # times and names that are drawn: another each time


SAYS = {
    "ENOSPC": "No space left on device; free some space",
    "EDQUOT": "quota exceeded; free some space",
    "EROFS": "Read-only file system; choose a place that can be written",
    "no room": "free some space",
}


def state(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes().replace(f"{folder.name}/".encode(), b"")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in NOT_COMPARED and "wandb" not in path.parts
    }


def fills_up(
    fau_mae: FauMae,
    capsys: pytest.CaptureFixture,
    line: list[object],
    out: Path,
    way: str,
    moments: Iterable[int] = range(1, 400),
) -> int:
    """Run `line`, which writes into `out`, on ever larger disks until it passes; returns how often it was refused."""
    refused = 0
    for moment in (*moments, MUCH):
        capsys.readouterr()
        with full_disk(out, moment, way) as disk:
            code = fau_mae(*line)
        said = capsys.readouterr().err
        if not disk.was_full:
            assert code == 0, said
            return refused
        half = [path for path in out.rglob("*") if path.suffix in (".tmp", ".part", ".partial")]
        assert not half, (moment, half)
        if code == 0:  # what could not be made was not needed, as a lock
            continue
        refused += 1
        # Notes of other things may stand beside it.
        lines = [text for text in said.splitlines() if text.startswith("fau-mae: ")]
        assert code == 2 and len(lines) == 1 and "Traceback" not in said, (moment, code, said)
        assert SAYS[way] in lines[0] and out.name in lines[0], (moment, lines[0])
    raise AssertionError(f"it makes more than {MUCH} files")


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A finished run, a table of another model, and pictures."""
    folder = tmp_path / "given"
    run = write_experiment(folder / "r", subjects=3, frames=4, severities=(0.5,))
    (run / "run.json").write_text(json.dumps({"settings": {"name": "r"}, "done": [[1, 0]]}))
    truth = np.random.default_rng(0).integers(0, 2, 20)
    table = {"sample_id": range(20), "AU12": truth * 0.5 + 0.25, "AU12_label": truth, "subject": "a"}
    pd.DataFrame(table).to_csv(folder / "p.csv", index=False)
    (folder / "faces").mkdir()
    for number in range(2):
        cv2.imwrite(str(folder / "faces" / f"{number}.png"), numbered_frame(number, face=number == 1)[:220])
    return folder


LINES: dict[str, list[object]] = {
    "report": ["report", "given/r", "--out", "OUT/r.html"],
    "results": ["results", "given/r", "--out", "OUT/r.md"],
    "dashboard": ["dashboard", "given/r", "--spec", "OUT/board.json"],
    "evaluate-predictions": ["evaluate-predictions", "given/p.csv", "--out", "OUT/e"],
    "experiments copy": ["experiments", "copy", "quickstart", "OUT/q"],
    "save": ["save", "CHECKPOINT", "--out", "OUT/w.safetensors"],
    "prepare": ["prepare", "synthetic", "--identities", 2, "--frames", 2, "--size", 48, "--workers", 1]
    + ["--out", "OUT/s", "--check"],
    "prepare folder": ["prepare", "folder", "--root", "given/faces", "--workers", 1, "--out", "OUT/s"],
    "evaluate": ["evaluate", "--checkpoint", "CHECKPOINT", "--data", "STORE", "--out", "OUT/v"]
    + ["--kinds", "patches", "saliency", "--severities", 0.5],
    "occlude": ["occlude", "given/faces", "--out", "OUT/o", "--kind", "patches", "--severity", 0.5],
    "detect": ["detect", "given/faces", "--out", "OUT/d", "--checkpoint", "CHECKPOINT"],
}

QUICK = ("report", "results", "dashboard", "evaluate-predictions", "experiments copy", "save")


@pytest.fixture
def holds(
    fau_mae: FauMae, capsys, given: Path, teacher: Path, tiny_store: FaceStore, tmp_path: Path
) -> Callable[..., None]:
    """Hold a command to it: one line at each of these moments, then what it leaves on a disk with room."""

    def line(name: str, out: str) -> list[object]:
        places = {"CHECKPOINT": str(teacher), "STORE": str(tiny_store.path)}
        return [places.get(str(word), str(word).replace("OUT", out)) for word in LINES[name]]

    def hold(name: str, way: str, *moments: Iterable[int]) -> None:
        for folder in ("full", "room"):
            (tmp_path / folder).mkdir()
        assert fills_up(fau_mae, capsys, line(name, "full"), tmp_path / "full", way, *moments)
        assert fau_mae(*line(name, "room")) == 0
        assert state(tmp_path / "full") == state(tmp_path / "room")

    return hold


@pytest.mark.parametrize(("name", "way"), [(name, WAYS[n % len(WAYS)]) for n, name in enumerate(LINES)])
def test_a_command_ends_in_one_line_and_the_same_command_finishes(
    holds: Callable[..., None], name: str, way: str
) -> None:
    holds(name, way, (2,) if name == "evaluate" else (2, 5))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["ENOSPC", "no room"])
@pytest.mark.parametrize("name", QUICK)
def test_a_command_at_every_moment(holds: Callable[..., None], name: str, way: str) -> None:
    holds(name, way)


def fit_line(store: FaceStore, out: str) -> list[object]:
    return ["fit", "--config", "quickstart/pretrain", "--out", out, f"--data.store={store.path}", *TINY] + [
        "--ckpt_path",
        "last",
    ]


def test_a_training(fau_mae: FauMae, capsys, no_wandb, tiny_store: FaceStore, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    fills_up(fau_mae, capsys, fit_line(tiny_store, "full/p"), tmp_path / "full", "no room", (1, 5))
    assert fau_mae(*fit_line(tiny_store, "room")) == 0
    assert_same_training(tmp_path / "room", tmp_path / "full" / "p")
