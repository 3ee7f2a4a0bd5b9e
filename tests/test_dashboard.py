"""The W&B dashboard: its specification, without a server."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fixtures_results import page_data, write_experiment

from fau_mae.evaluation.scored_run import FoldRun, score_run
from fau_mae.reports import wandb_curves as wandb_log

FauMae = Callable[..., int]


@pytest.fixture(scope="module")
def experiments(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [write_experiment(folder / name, folds=(1, 2)) for name in ("first", "second")]


@pytest.fixture
def spec(fau_mae: FauMae, experiments: list[Path], tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "spec.json"
    arguments = ["--spec", path, "--entity", "me", "--project", "faces", "--name", "Compare"]
    assert fau_mae("dashboard", *experiments, *arguments) == 0
    return json.loads(path.read_text())


def _panels(spec: dict[str, Any], view: str) -> list[dict[str, Any]]:
    sections = spec["spec"]["section"]["panelBankConfig"]["sections"]
    return [p["config"] for section in sections for p in section["panels"] if p["viewType"] == view]


def test_every_panel_shows_what_the_evaluation_logs(spec: dict[str, Any], experiments: list[Path]) -> None:
    scored = score_run(
        experiments[0], [FoldRun(experiments[0] / "fold1-seed0", 1, 0)], experiment="e", dataset="d"
    )
    results = pd.read_parquet(experiments[0] / "results.parquet")
    curves = {key for step in wandb_log.curve_steps(results) for key in step}
    summary = wandb_log.au_summary(results).keys() | wandb_log.validation_scores(scored).keys()
    lines, bars = _panels(spec, "Run History Line Plot"), _panels(spec, "Bar Chart")
    assert {line["xAxis"] for line in lines} == {"occlusion/severity"} <= curves
    # All of the curves are shown and nothing else; the same of the bars.
    assert {metric for line in lines for metric in line["metrics"]} == curves - {"occlusion/severity"}
    assert {metric.removeprefix("summary:") for bar in bars for metric in bar["metrics"]} == summary
    assert {p["groupAgg"] for p in lines + bars} == {"mean"} and {p["groupArea"] for p in lines} == {"minmax"}
    media = {key for panel in _panels(spec, "Media Browser") for key in panel["mediaKeys"]}
    kinds = set(results["kind"]) - {"none"}
    assert media == {f"occlusion/{kind}/faces" for kind in kinds} and len(lines) == 2 * len(kinds)


def test_the_runs_are_evaluations_of_these_experiments_by_fold_and_seed(spec: dict[str, Any]) -> None:
    assert (spec["entity"], spec["project"], spec["displayName"]) == ("me", "faces", "Compare")
    (runset,) = spec["spec"]["section"]["runSets"]
    assert [key["name"].split(".")[0] for key in runset["grouping"]] == ["run_name", "fold", "seed"]
    text = json.dumps(runset["filters"])
    assert "jobType" in text and "evaluate" in text and "first" in text and "second" in text
    assert "results" in json.dumps(_panels(spec, "Weave"))


def test_without_a_key_one_line_says_what_is_needed(
    fau_mae: FauMae, experiments: list[Path], capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert fau_mae("dashboard", experiments[0]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "WANDB_API_KEY" in line and "--spec" in line and "fau-mae report" in line


def test_a_folder_without_results_is_named(fau_mae: FauMae, tmp_path: Path, capsys) -> None:
    assert fau_mae("dashboard", tmp_path / "nowhere", "--spec", tmp_path / "s.json") == 2
    assert "nowhere" in capsys.readouterr().err and not (tmp_path / "s.json").exists()


def test_a_missing_package_is_named_when_the_dashboard_is_asked_for(
    fau_mae: FauMae, experiments: list[Path], tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.delitem(sys.modules, "fau_mae.reports.workspace", raising=False)
    assert fau_mae("dashboard", experiments[0], "--spec", tmp_path / "spec.json") == 2
    assert "pip install 'fau-mae[dashboard]'" in capsys.readouterr().err
    assert not (tmp_path / "spec.json").exists()


def test_two_runs_of_one_experiment_are_two_curves(
    fau_mae: FauMae, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are told apart by their folders, or by what `--name` said, never averaged."""
    from fau_mae.run_folder import RunMemory, write_memory

    runs = [tmp_path / place / "tuned" for place in ("a", "b")]
    for run in runs:
        write_experiment(run, subjects=4, frames=10, severities=(0.5,))
    assert fau_mae("dashboard", *runs, "--spec", "spec.json") == 2
    assert "two runs are called tuned" in capsys.readouterr().err
    write_memory(runs[1], RunMemory("quickstart", label="wider"))
    assert fau_mae("dashboard", *runs, "--spec", "spec.json") == 0
    text = Path("spec.json").read_text()
    (runset,) = json.loads(text)["spec"]["section"]["runSets"]
    assert "tuned" in json.dumps(runset["filters"]) and "wider" in json.dumps(runset["filters"])
    lines = _panels(json.loads(text), "Run History Line Plot")
    assert lines and all("run_name" in json.dumps(line) for line in lines)
    assert fau_mae("report", *runs, "--out", "page.html") == 0
    assert [one["name"] for one in page_data(Path("page.html"))["experiments"]] == ["tuned", "wider"]


def test_a_run_is_called_as_its_folder_unless_it_is_named(fau_mae: FauMae, capsys) -> None:
    for more, name in (([], "quickstart"), (["--out", "runs/tuned"], "tuned"), (["--name", "wide"], "wide")):
        assert fau_mae("run", "quickstart", *more, "--dry-run") == 0
        lines = [line for line in capsys.readouterr().out.splitlines() if "fau-mae fit" in line]
        assert len(lines) == 5 and all(f"--run_name {name} " in line for line in lines)
