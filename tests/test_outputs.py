"""What is written replaces nothing of others, computes nothing in a spreadsheet and marks nothing up in Markdown."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import refused
from fixtures_results import write_experiment
from safetensors import safe_open
from safetensors.torch import save_file

from data_modules import files
from fau_mae.reports.markdown import escaped

FauMae = Callable[..., int]
FORMULAS = ("=cmd|'/c calc'!A1", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "=HYPERLINK(0)")
MARKUP = (
    "a|b",
    "<script>alert(1)</script>",
    "**bold**",
    "[here](http://x)",
    "`x`",
    "# a\n\n# b",
    "~~a~~",
    "_a_",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of an experiment whose name is a formula and markup."""
    folder = write_experiment(tmp_path_factory.mktemp("r") / "r", subjects=3, frames=4, severities=(0.5,))
    results = pd.read_parquet(folder / "results.parquet")
    results.assign(dataset="=1+1|<b>").to_parquet(folder / "results.parquet")
    (folder / "run.json").write_text(json.dumps({"settings": {"name": "=1|<b>**x**"}, "done": [[1, 0]]}))
    return folder


def test_a_file_of_others_is_not_replaced(
    fau_mae: FauMae, capsys, run: Path, teacher: Path, tmp_path: Path
) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    for name in ("p.html", "v.safetensors", "s.json", "t.json", "notes.csv", "face.png", "face.jpg"):
        (tmp_path / name).write_text('{"a": 1}' if name == "t.json" else "a year's work")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for line in (
        ("report", run, "--out", "p.html"),
        ("save", teacher, "--out", "v.safetensors"),
        ("save", teacher, "--out", "w.safetensors"),
        ("dashboard", run, "--spec", "s.json"),
        ("dashboard", run, "--spec", "t.json"),
        ("results", run, "--out", "notes.md"),
        ("prepare", "synthetic", "--out", "store", "--preview", "face.png"),
        ("prepare", "synthetic", "--out", "store", "--preview", "face.jpg"),
    ):
        said = refused(fau_mae, capsys, *line)
        assert "not of this command" in said
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_of_ours_and_an_empty_one_are(
    fau_mae: FauMae, run: Path, teacher: Path, tmp_path: Path
) -> None:
    for name in ("p.html", "v.safetensors", "s.json"):
        (tmp_path / name).touch()
    for _ in range(2):
        assert fau_mae("report", run, "--out", "p.html") == 0
        assert fau_mae("save", teacher, "--out", "v.safetensors") == 0
        assert fau_mae("dashboard", run, "--spec", "s.json") == 0
        assert fau_mae("results", run, "--out", "notes.md") == 0
    with safe_open(tmp_path / "v.safetensors", "pt") as file:
        assert "fau_mae" in file.metadata()


@pytest.mark.parametrize("cell", FORMULAS)
def test_no_cell_or_head_is_a_formula(tmp_path: Path, cell: str) -> None:
    files.write_csv(tmp_path / "a.csv", pd.DataFrame({cell: [cell, "fine"], "n": [-1.5, 2]}))
    with files.table_writer(tmp_path / "b.csv", [cell, "n"]) as write:
        write([cell, "-1.5"])
    for name in ("a.csv", "b.csv"):
        rows = pd.read_csv(tmp_path / name, header=None, dtype=str)
        # A tab is written as it is shown, with a backslash.
        assert rows[0].str.startswith(("'", "\\", "fine")).all() and rows[1].tolist()[:2] == ["n", "-1.5"]


def test_the_tables_of_a_run_are_safe(fau_mae: FauMae, run: Path, tmp_path: Path) -> None:
    assert fau_mae("results", run, "--out", "o.md") == 0
    text, table = (tmp_path / "o.md").read_text("utf-8"), pd.read_csv(tmp_path / "o.csv", dtype=str)
    assert "## =1\\|\\<b\\>\\*\\*x\\*\\*" in text and "data: =1+1\\|\\<b\\>" in text
    assert set(table["experiment"]) == {"'=1|<b>**x**"} and set(table["dataset"]) == {"'=1+1|<b>"}


@pytest.mark.parametrize("name", MARKUP)
def test_a_name_is_shown_as_it_is(name: str) -> None:
    shown = escaped(name)
    assert "\n" not in shown and shown.replace("\\", "") == " ".join(name.split())
    for sign in "`*<>|[]#~":
        assert shown.count(f"\\{sign}") == shown.count(sign)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
YAMLS = {
    "bomb": BOMB,
    "itself": "a: &a [*a]\n",
    "itself in a mapping": "a: &a {b: *a}\n",
    "deep": "a: " + "[" * 3000 + "]" * 3000 + "\n",
    "no yaml": "a: [1\nb: }",
    "bytes": "a: \x00\n",
    "base is itself": "base: [experiment.yaml]\n",
}


@pytest.mark.parametrize("kind", YAMLS)
def test_a_yaml_file_that_explodes_or_loops_is_one_line(
    fau_mae: FauMae, capsys, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "experiment.yaml").write_text(YAMLS[kind])
    (tmp_path / "sweep.yaml").write_text("parameters: {a: {value: 1}}\nmethod: grid\n" + YAMLS[kind])
    for line in (
        ("run", "e", "--dry-run"),
        ("fit", "--config", "e/experiment.yaml"),
        ("sweep", "sweep.yaml", "--out", "o"),
    ):
        assert "yaml" in refused(fau_mae, capsys, *line)
    assert not (tmp_path / "o").exists()


def test_two_files_that_are_each_others_base(fau_mae: FauMae, capsys, tmp_path: Path) -> None:
    for name in ("e", "f"):
        (tmp_path / name).mkdir()
    (tmp_path / "e" / "experiment.yaml").write_text("base: ../f/experiment.yaml\n")
    (tmp_path / "f" / "experiment.yaml").write_text("base: ../e/experiment.yaml\n")
    said = refused(fau_mae, capsys, "run", "e", "--dry-run")
    assert "leads back to itself" in said
    (tmp_path / "f" / "experiment.yaml").unlink()
    (tmp_path / "f" / "experiment.yaml").symlink_to("../e/experiment.yaml")
    assert "leads back to itself" in refused(fau_mae, capsys, "run", "e", "--dry-run")
