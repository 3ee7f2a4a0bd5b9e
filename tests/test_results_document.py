"""`fau-mae results` through the front door, on made-up runs: the tables, what they leave out, the text around them."""

import json
import re
import shutil
from pathlib import Path

import fixtures_results as fixtures
import pandas as pd
import pytest

from fau_mae.evaluation import comparison
from fau_mae.evaluation.curves import Curves, Interval, MethodKey, interval
from fau_mae.evaluation.scored_run import read_run
from fau_mae.run_folder import RunMemory, write_memory
from fau_mae.runs.request import Request

STUDENT = MethodKey("student", "oracle")
ABLATIONS = ("harmful", "harmless")
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"


def finish(folder: Path, experiment: str, *overrides: str, **changes) -> Path:
    """`run.json` as `fau-mae run` leaves it; `changes`: what was given, and `done`, `ablations`, `name`."""
    memory = {key: changes.pop(key) for key in ("done", "ablations", "name") if key in changes}
    given = {**Request(experiment, overrides=list(overrides)).given(), **changes}
    memory = {"name": experiment, "done": [[1, 0], [1, 1]], **memory}
    write_memory(folder, RunMemory(given=given, **memory))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Two seeds; a specialist of each severity, another method at .25 alone; two ablations of one seed."""
    size = {"subjects": 5, "frames": 10, "severities": (0.25, 0.75)}
    folder = fixtures.write_experiment(tmp_path_factory.mktemp("runs") / "rich", seeds=(0, 1), **size)
    fixtures.add_method(folder, "specialist-oracle", cells="*-0.?5", wrong=("AU12",))
    fixtures.add_method(folder, "partial-oracle", cells="*-0.25")
    fixtures.add_method(folder, "harmful-oracle", runs="*-seed1", wrong=fixtures.AUS)
    fixtures.add_method(folder, "harmless-oracle", runs="*-seed1")
    fixtures.score_experiment(folder)
    return finish(folder, "quickstart", name="rich", ablations=list(ABLATIONS))


@pytest.fixture(scope="module")
def document(run: Path, tmp_path_factory) -> Path:
    from fau_mae.cli import main

    out = tmp_path_factory.mktemp("out") / "docs" / "results.md"
    assert main(["results", str(run), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def results(run: Path) -> pd.DataFrame:
    return pd.read_parquet(run / "results.parquet")


@pytest.fixture(scope="module")
def curves(run: Path) -> Curves:
    return read_run(run).curves()


def tables(document: Path) -> dict[str, list[list[list[str]]]]:
    """{heading of the third level: its tables, as rows of cells}."""
    found = {}
    for part in document.read_text().split("\n### ")[1:]:
        blocks = [block.splitlines() for block in part.split("\n\n") if block.startswith("|")]
        rows = [[line[2:-2].split(" | ") for line in block] for block in blocks]
        found[part.splitlines()[0]] = [[row for row in table if ":--" not in row] for table in rows]
    return found


def number(cell: str) -> float:
    return float(cell.split()[0].strip("*").replace("−", "-"))


def shown(found: Interval) -> str:
    value, low, high = (f"{figure:.3f}".removeprefix("0") for figure in found)
    return f"{value} <sub>[{low}, {high}]</sub>"


def test_figures_and_intervals_are_those_of_the_results_and_the_bootstrap(document, curves, results):
    facts = "data: synthetic; seeds 0, 1; fold 1; 5 test people, 50 test faces; 8 action units"
    assert f"## rich\n\n{facts}" in document.read_text()
    macro = results[results["au"] == "macro"]
    own = macro[(macro["method"] == "student") & (macro["mask_source"] == "oracle")]
    for title, metric in (("Macro-AUROC", "auroc"), ("Macro-F1", "f1")):
        for kind, table in zip(("patches", "block"), tables(document)[title], strict=True):
            assert table[0] == [f"`{kind}`", "mask", "clean", ".25", ".75", "mean"]
            row = next(row[2:] for row in table if row[:2] == ["student", "oracle"])
            for cell, severity in zip(row, (0.0, 0.25, 0.75)):
                at = own[(own["severity"] == severity) & own["kind"].isin([kind, "none"])]
                assert number(cell) == pytest.approx(at[metric].mean(), abs=6e-4)
                assert cell == shown(interval(curves.at(STUDENT, kind, severity, metric)))
            assert row[-1] == shown(interval(curves.mean(STUDENT, kind, metric)))
    *_, floor_row = tables(document)["Macro-F1"][0]
    floor = macro[macro["kind"] != "block"].groupby("severity")["floor_f1"].mean()
    assert floor_row[:2] == ["always positive", "none"]
    assert [number(cell) for cell in floor_row[2:5]] == pytest.approx(floor.tolist(), abs=6e-4)


def test_what_was_not_measured_is_a_dash_and_ablations_stay_apart(document):
    for title in ("Macro-AUROC", "Macro-F1"):
        for table in tables(document)[title]:
            rows = {tuple(row[:2]): [cell == "—" for cell in row[2:]] for row in table[1:]}
            assert rows["specialist", "oracle"] == [True, False, False, False]
            assert rows["partial", "oracle"] == [True, False, True, True]
            assert not any(rows["student", "blind"])
            assert not {method for method, _ in rows} & set(ABLATIONS)


def test_the_student_is_compared_with_every_rival_and_sure_differences_are_bold(document, curves):
    (table,) = tables(document)["Differences, mean over severities"]
    assert table[0][1:] == ["`patches` AUROC", "`patches` F1", "`block` AUROC", "`block` F1"]
    blind = MethodKey("student", "blind")
    compared = {
        "student (oracle) − clean": (STUDENT, ("clean", "none")),
        "student (oracle) − reconstruct (oracle)": (STUDENT, ("reconstruct", "oracle")),
        "student (oracle) − augmented": (STUDENT, ("augmented", "none")),
        "student (oracle) − partial (oracle)": None,
        "student (blind) − student (oracle)": (blind, STUDENT),
    }
    assert [row[0] for row in table[1:]] == list(compared)
    places = [(kind, metric) for kind in ("patches", "block") for metric in ("auroc", "f1")]
    bold = []
    for row, pair in zip(table[1:], compared.values()):
        if pair is None:  # measured at one severity of two
            assert row[1:] == ["—"] * 4
            continue
        gaps = comparison.difference_table(curves, pair[0], curves, MethodKey(*pair[1]))
        means = gaps[gaps["severity"].isna()].set_index(["kind", "metric"])
        for cell, place in zip(row[1:], places):
            assert number(cell) == pytest.approx(means.loc[place, "value"], abs=6e-4)
            assert cell.startswith("**") == means.loc[place, "counts"]
            bold.append(cell.startswith("**"))
    assert any(bold) and not all(bold)


def test_the_student_is_compared_with_specialists_severity_by_severity(document):
    (table,) = tables(document)["student (oracle) − specialist (oracle), a model per severity"]
    assert table[0][2:] == [".25", ".75", "mean"]
    assert [row[:2] for row in table[1:3]] == [["`patches`", "AUROC"], ["`patches`", "F1"]]
    assert len(table) == 5 and all(number(cell) > 0 for row in table[1:] for cell in row[2:])


def test_ablations_are_compared_with_the_student_of_their_seeds(document, results):
    (table,) = tables(document)["Ablations, mean over severities, seed 1 and fold 1"]
    student, harmful, harmless = table[1:]
    own = results.query("au == 'macro' and seed == 1 and method == 'student' and mask_source == 'oracle'")
    assert number(student[2]) == pytest.approx(own[own["kind"] == "patches"]["auroc"].mean(), abs=6e-4)
    assert student[3::2] == ["—"] * 4 and harmless[2::2] == student[2::2]
    assert all(cell == ".000 <sub>[.000, .000]</sub>" for cell in harmless[3::2])
    assert all(cell.startswith("**−") for cell in harmful[3::4])  # AUROC
    assert number(harmful[2]) == pytest.approx(1 - number(student[2]), abs=2e-3)


def test_the_csv_holds_the_macro_rows_rounded_and_sorted(document, results):
    table = pd.read_csv(document.with_suffix(".csv"), keep_default_na=False, na_values=[""])
    macro = results[results["au"] == "macro"]
    assert list(table.columns) == [name for name in results.columns if name != "checkpoint"]
    keys = ["fold", "seed", "method", "mask_source", "kind", "severity"]
    expected = macro.sort_values(keys)
    assert table[keys].to_numpy().tolist() == expected[keys].to_numpy().tolist()
    for metric in ("auroc", "f1", "ece", "floor_f1"):
        assert table[metric].to_numpy() == pytest.approx(expected[metric].round(4).to_numpy(), abs=1e-9)


@pytest.fixture(scope="module")
def small_run(tmp_path_factory) -> Path:
    size = {"subjects": 3, "frames": 6, "severities": (0.5,), "kinds": ("patches",)}
    return fixtures.write_experiment(tmp_path_factory.mktemp("runs") / "small", seeds=(0, 1), **size)


@pytest.fixture
def small(small_run: Path) -> Path:
    return finish(small_run, "quickstart")


def test_only_what_stands_between_the_markers_is_replaced(fau_mae, small, tmp_path):
    out = tmp_path / "results.md"
    out.write_bytes(b"# Ours\r\n\r\nWhy it fails.\n")
    assert fau_mae("results", small, "--out", out) == 0
    text = out.read_bytes().decode()
    assert text.startswith(f"# Ours\r\n\r\nWhy it fails.\n\n{BEGIN}\n") and text.endswith(f"\n{END}\n")
    tables = text[text.index(BEGIN) : text.index(END)]
    before, after = f"Lines such as {BEGIN} mean nothing here.\r\n\n", "\r\n\nWhat was tried.\n\n\n"
    out.write_bytes((before + tables.replace("Macro", "Old") + END + after).encode())
    assert fau_mae("results", small, "--out", out) == 0
    assert out.read_bytes().decode() == before + tables + END + after
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.csv", "results.md"]


@pytest.mark.parametrize("text", [BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}\n{END}\n{END}"])
def test_markers_that_are_no_pair_are_refused_and_the_text_is_kept(fau_mae, small, tmp_path, capsys, text):
    (tmp_path / "results.md").write_text(text)
    assert fau_mae("results", small, "--out", tmp_path / "results.md") == 2
    assert f"expected one line {BEGIN}" in capsys.readouterr().err
    assert (tmp_path / "results.md").read_text() == text and len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_tabulated_is_refused_and_nothing_written(fau_mae, small, tmp_path, capsys):
    out = tmp_path / "out" / "results.md"
    assert fau_mae("results", small, small, "--out", out) == 2
    assert "two runs are called quickstart (small)" in capsys.readouterr().err
    assert fau_mae("results", small, "--out", out.with_suffix(".html")) == 2
    assert "must end in .md" in capsys.readouterr().err
    assert fau_mae("results", finish(small, "quickstart", done=[]), "--out", out) == 2
    assert "is not a finished run" in capsys.readouterr().err
    assert not out.parent.exists()


EPOCH = ("prepare.identities=9", "ladder.kinds=[block]", "trainer.max_epochs=1")


@pytest.mark.parametrize(
    ("name", "overrides", "given", "line"),
    [
        ("quickstart", (), {}, "quickstart"),
        ("quickstart", (), {"seeds": [0, 1]}, "quickstart --seeds 0,1"),
        (
            "quickstart",
            EPOCH,
            {},
            "quickstart --set prepare.identities=9 'ladder.kinds=[block]' trainer.max_epochs=1",
        ),
        ("quickstart", (), {"store": "/data/s"}, "quickstart --store STORE"),
        ("synthetic", (), {"ablate": True}, "synthetic --ablate"),
        ("disfa", (), {"folds": [2], "root": "/data/disfa"}, "disfa --root ROOT --folds 2"),
        ("quickstart", ("teacher.model.init_args.init_from=/data/w",), {}, None),
        ("quickstart", (), {"mae": "/data/mae.ckpt"}, None),
        ("/data/mine", (), {}, None),
    ],
)
def test_the_line_that_repeats_a_run_is_the_one_that_made_it(
    fau_mae, small, tmp_path, name, overrides, given, line
):
    finish(small, name, *overrides, **given)
    assert fau_mae("results", small, "--out", tmp_path / "results.md") == 0
    text = (tmp_path / "results.md").read_text()
    found = [words for words in text.splitlines() if "fau-mae run" in words]
    assert found == ([f"`fau-mae run {line}`"] if line else []) and "`fau-mae run /data" not in text


def test_a_run_of_an_older_version_is_told_without_its_line(fau_mae, small, tmp_path):
    """Its `run.json` kept settings, not the line that was typed."""
    settings = {"name": "older", "ablations": {}, "options": {}, "prepare": {"source": "synthetic"}}
    memory = {"settings": settings, "done": [[1, 0], [1, 1]], "ablated": []}
    (small / "run.json").write_text(json.dumps(memory))
    assert fau_mae("results", small, "--out", tmp_path / "results.md") == 0
    text = (tmp_path / "results.md").read_text()
    assert "## older" in text and "`fau-mae run older" not in text


@pytest.mark.parametrize("text", ["", "[1]", '{"format": 3}', '{"format": 2, "nme": 1}', '{"settings": []}'])
def test_a_damaged_run_json_is_named(fau_mae, small, tmp_path, capsys, text):
    (small / "run.json").write_text(text)
    assert fau_mae("results", small, "--out", tmp_path / "results.md") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "run.json" in line and not (tmp_path / "results.md").exists()


def test_runs_of_one_experiment_are_told_apart_by_their_folders(fau_mae, small, tmp_path):
    shutil.copytree(small, tmp_path / "second")
    assert fau_mae("results", small, tmp_path / "second", "--out", tmp_path / "results.md") == 0
    headings = re.findall(r"^## (.*)", (tmp_path / "results.md").read_text(), re.MULTILINE)
    assert headings == ["quickstart (small)", "quickstart (second)"]
    assert set(pd.read_csv(tmp_path / "results.csv")["experiment"]) == set(headings)


@pytest.mark.parametrize(("command", "page"), [("results", "results.md"), ("report", "report.html")])
def test_every_predictions_file_is_read_once(command, page, run, fau_mae, tmp_path, monkeypatch) -> None:
    reads = fixtures.count_reads(monkeypatch)
    assert fau_mae(command, run, "--out", tmp_path / page) == 0
    there = {str(path) for path in run.glob("*/predictions/test/*-*/*.parquet")}
    assert set(reads) == there and set(reads.values()) == {1}
