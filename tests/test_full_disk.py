"""A disk that is full or read-only at any moment of a command: one line, nothing half-written, then as if it had room.

Every command is run with a disk that takes no file from the n-th on, n = 1, 2, 3, … until it passes; what it leaves is
what it leaves on a disk with room.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import TINY
from fixtures_disk import WAYS, full_disk
from fixtures_results import write_experiment
from fixtures_training import assert_same_training

from data_modules.stores.store import FaceStore

FauMae = Callable[..., int]
NOT_COMPARED = {"cost.json", "run.json", "board.json"}  # times and names that are drawn: another each time


def state(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in NOT_COMPARED and "wandb" not in path.parts
    }


def fills_up(
    fau_mae: FauMae, capsys: pytest.CaptureFixture, line: list[object], out: Path, way: str, numbers=None
) -> int:
    """Run `line`, which writes into `out`, on ever larger disks until it passes; returns how often that was."""
    number = 0
    for number in numbers or range(1, 200):
        capsys.readouterr()
        with full_disk(out, number, way) as disk:
            code = fau_mae(*line)
        said = capsys.readouterr().err
        if not disk.was_full:
            assert code == 0, said
            break
        left = [path for path in out.rglob("*") if path.suffix in (".tmp", ".part")]
        assert not left, (number, left)
        if code == 0:  # what could not be made was not needed, as a lock
            continue
        assert code == 2, (number, code, said)
        lines = [text for text in said.splitlines() if not text.startswith("W&B")]
        assert len(lines) == 1 and lines[0].startswith("fau-mae: "), (number, said)
        assert "Traceback" not in said
    return number


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A finished run, and a table of another model."""
    folder = tmp_path / "given"
    run = write_experiment(folder / "r", subjects=3, frames=4, severities=(0.5,))
    (run / "run.json").write_text(json.dumps({"settings": {"name": "r"}, "done": [[1, 0]]}))
    truth = np.random.default_rng(0).integers(0, 2, 20)
    table = {"sample_id": range(20), "AU12": truth * 0.5 + 0.25, "AU12_label": truth, "subject": "a"}
    pd.DataFrame(table).to_csv(folder / "p.csv", index=False)
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
    "evaluate": ["evaluate", "--checkpoint", "CHECKPOINT", "--data", "STORE", "--out", "OUT/v"]
    + ["--kinds", "patches", "saliency", "--severities", 0.5],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", LINES)
def test_a_command_ends_in_one_line_and_the_same_command_finishes(
    fau_mae: FauMae,
    capsys,
    given: Path,
    teacher: Path,
    tiny_store: FaceStore,
    tmp_path: Path,
    name: str,
    way: str,
) -> None:
    def line(out: str) -> list[object]:
        places = {"CHECKPOINT": str(teacher), "STORE": str(tiny_store.path)}
        return [places.get(str(word), str(word).replace("OUT", out)) for word in LINES[name]]

    for folder in ("full", "room"):
        (tmp_path / folder).mkdir()
    if name in ("prepare", "evaluate") and way in ("EDQUOT", "EROFS"):
        numbers = (1, 4, 9, 16, 200)  # the moments are those of ENOSPC
    else:
        numbers = None
    tried = fills_up(fau_mae, capsys, line("full"), tmp_path / "full", way, numbers)
    assert tried >= 2
    assert fau_mae(*line("room")) == 0
    assert state(tmp_path / "full") == state(tmp_path / "room")


def fit_line(store: FaceStore, out: str) -> list[object]:
    return ["fit", "--config", "quickstart/pretrain", "--out", out, f"--data.store={store.path}", *TINY] + [
        "--ckpt_path",
        "last",
    ]


@pytest.mark.parametrize("way", WAYS)
def test_a_training(
    fau_mae: FauMae, capsys, no_wandb, tiny_store: FaceStore, tmp_path: Path, way: str
) -> None:
    (tmp_path / "full").mkdir()
    numbers = (1, 3, 5, 8, 200) if way == "no room" else (2, 6, 200)
    fills_up(fau_mae, capsys, fit_line(tiny_store, "full/p"), tmp_path / "full", way, numbers)
    assert fau_mae(*fit_line(tiny_store, "room")) == 0
    assert_same_training(tmp_path / "room", tmp_path / "full" / "p")


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_training_at_every_moment(
    fau_mae: FauMae, capsys, tiny_store: FaceStore, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with W&B's files."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tmp_path / "full").mkdir()
    fills_up(fau_mae, capsys, fit_line(tiny_store, "full/p"), tmp_path / "full", way)
    assert fau_mae(*fit_line(tiny_store, "room")) == 0
    assert_same_training(tmp_path / "room", tmp_path / "full" / "p")


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("wandb", ["offline", "disabled"])
def test_a_run(
    fau_mae: FauMae,
    capsys,
    tiny_store: FaceStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    wandb: str,
) -> None:
    monkeypatch.setenv("WANDB_MODE", wandb)
    settings = [word for flag in TINY for word in ("--set", flag.removeprefix("--"))]

    def line(out: str) -> list[object]:
        run = ["run", "quickstart", "--store", tiny_store.path, "--out", out, *settings]
        return [*run, "--set", "ladder.severities=[0.5]"]

    (tmp_path / "full").mkdir()
    fills_up(fau_mae, capsys, line("full/r"), tmp_path / "full", way, (*range(1, 60, 4), 1000))
    assert fau_mae(*line("room")) == 0
    names = ("results.parquet", "folds.csv", "metrics.json")
    full, room = (
        {name: (folder / name).read_bytes() for name in names} for folder in (Path("full/r"), Path("room"))
    )
    assert full == room


@pytest.mark.slow
@pytest.mark.parametrize("way", ["ENOSPC", "EROFS"])
def test_a_sweep(fau_mae: FauMae, capsys, tiny_store: FaceStore, tmp_path: Path, way: str) -> None:
    pytest.importorskip("ray")
    command = ["${program}", "fit", "--config", "quickstart/pretrain", "--out", "x/{trial}/p"]
    command += [f"--data.store={tiny_store.path}", *TINY, "${args}"]
    sweep = {"program": "fau-mae", "command": command, "method": "grid"}
    sweep |= {
        "metric": {"name": "val/loss", "goal": "minimize"},
        "parameters": {"data.seed": {"values": [1]}},
    }
    (tmp_path / "s.yaml").write_text(json.dumps(sweep))
    (tmp_path / "full").mkdir()
    fills_up(
        fau_mae, capsys, ["sweep", "s.yaml", "--out", "full/s"], tmp_path / "full", way, (1, 2, 3, 5, 200)
    )
    assert pd.read_csv(tmp_path / "full" / "s" / "summary.csv")["state"].tolist() == ["finished"]
    shutil.rmtree(tmp_path / "full")
