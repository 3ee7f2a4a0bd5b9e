"""Commands beside `fit` and `run`, through the front door: help, prepare folder, occlude, evaluate-predictions."""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from data_modules.stores.store import FaceStore
from fau_mae.cli import _parser
from fau_mae.commands import lightning

FauMae = Callable[..., int]
COMMANDS = (
    "prepare",
    "experiments",
    "run",
    "fit",
    "evaluate",
    "sweep",
    "report",
    "results",
    "dashboard",
    "detect",
    "occlude",
    "evaluate-predictions",
    "save",
    "export",
)


def save_faces(store: FaceStore, folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), cv2.cvtColor(store.image(number * 4), cv2.COLOR_RGB2BGR))
    return paths


def test_help_names_every_command(fau_mae: FauMae, capsys) -> None:
    assert fau_mae("--help") == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in ("fit", "prepare")])
def test_every_command_explains_itself(fau_mae: FauMae, capsys, command: str) -> None:
    assert fau_mae(command, "--help") == 0
    assert "usage: fau-mae" in capsys.readouterr().out


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser and all below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parsers(below)


@pytest.mark.parametrize("parser", list(parsers(_parser())), ids=lambda parser: parser.prog)
def test_help_says_each_default_once_and_never_that_there_is_none(parser: argparse.ArgumentParser) -> None:
    options = re.split(r"\n  (?=-|\w)", parser.format_help())
    assert all(option.count("(default:") <= 1 for option in options)
    text = " ".join(" ".join(options).split())
    assert "None)" not in text and "[]" not in text and "False)" not in text
    shown = {action.dest for action in parser._actions if isinstance(action.default, int | float | str)}
    shown -= {
        action.dest
        for action in parser._actions
        if isinstance(action.default, bool) or action.default == "==SUPPRESS=="
    }
    assert text.count("(default:") >= len(shown)


(SUBCOMMANDS,) = (a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction))
# Lightning reads the options of fit, validate and test itself.
COMMANDS_OF_OUR_OWN = sorted(set(SUBCOMMANDS.choices) - set(lightning.NAMES))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--version"], 0),
        (["--help"], 0),
        *(([name, "--help"], 0) for name in COMMANDS_OF_OUR_OWN),
        (["report", "nosuch"], 2),
        (["nosuch"], 2),
        (["run", "nosuch"], 2),
        (["run", "quickstart", "--set", "ladder.severities=x"], 2),
        (["experiments"], 0),
        (["experiments", "copy", "nosuch", "mine"], 2),
        (["run", "quickstart", "--folds", "one"], 2),
        (["save", "x.ckpt", "--out", "x.txt"], 2),
    ],
    ids=str,
)
def test_help_version_and_wrong_use_come_at_once(words: list[str], code: int) -> None:
    """That is, without torch, Lightning or W&B, whose imports take seconds."""
    program = "import sys; from fau_mae.cli import main; code = main(sys.argv[1:]); "
    program += "print({'torch', 'lightning', 'wandb'} & set(sys.modules)); sys.exit(code)"
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert done.returncode == code and done.stdout.splitlines()[-1] == "set()"
    assert "Traceback" not in done.stderr and (code == 0 or done.stderr)


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP says there what it was told")
@pytest.mark.parametrize("start", [["-m", "fau_mae.cli"], ["-c", "from fau_mae.cli import entry; entry()"]])
@pytest.mark.parametrize("pinned", [False, True])
def test_idle_threads_sleep_unless_they_are_pinned(start: list[str], pinned: bool) -> None:
    """Told before torch is loaded, so that its OpenMP hears it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "KMP_"))}
    env |= {"OMP_DISPLAY_ENV": "verbose"} | ({"OMP_NUM_THREADS": "1"} if pinned else {})
    done = subprocess.run([sys.executable, *start, "fit", "--help"], capture_output=True, text=True, env=env)
    assert done.returncode == 0
    (spins,) = re.findall(r"GOMP_SPINCOUNT *= *'(\d+)'", done.stderr)
    assert (int(spins) == 0) is not pinned


def test_version_is_that_of_the_installed_package(fau_mae: FauMae, capsys) -> None:
    from importlib.metadata import version

    assert fau_mae("--version") == 0
    assert capsys.readouterr().out == f"fau-mae {version('fau-mae')}\n"


def test_occlude_writes_pictures_and_masks(fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path) -> None:
    save_faces(tiny_store, tmp_path / "faces", 2)
    arguments = ["--kind", "patches", "lower", "--severity", "0.25", "0.5", "--grid", "4"]
    assert fau_mae("occlude", tmp_path / "faces", "--out", tmp_path / "o", *arguments) == 0
    manifest = pd.read_csv(tmp_path / "o" / "manifest.csv")
    assert len(manifest) == 2 * 2 * 2 and set(manifest["kind"]) == {"patches", "lower"}
    np.testing.assert_allclose(manifest["hidden"], manifest["severity"], atol=1e-6)


def test_prepare_folder_without_labels_and_its_report(
    fau_mae: FauMae, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skimage.data import astronaut

    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR))
    out = tmp_path / "store"
    arguments = ["--root", tmp_path / "photos", "--out", out, "--size", 48, "--workers", 1, "--check"]
    assert fau_mae("prepare", "folder", *arguments) == 0
    assert "1 rows" in capsys.readouterr().out and (out / "check.html").exists()
    store = FaceStore(out)
    assert len(store) == 1 and store.info.aus == () and store.image(0).shape == (48, 48, 3)


def test_evaluate_predictions_scores_a_foreign_table(fau_mae: FauMae, tmp_path: Path, capsys) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 40)
    table = pd.DataFrame({"sample_id": range(40), "AU12": truth * 0.5 + 0.25, "AU12_label": truth})
    table.to_csv(tmp_path / "p.csv", index=False)
    assert fau_mae("evaluate-predictions", tmp_path / "p.csv", "--out", tmp_path / "scored") == 0
    results = pd.read_parquet(tmp_path / "scored" / "results.parquet")
    assert (results["auroc"] == 1).all() and (results["f1"] == 1).all()
