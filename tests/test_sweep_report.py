"""`fau-mae report SWEEP`: the best trial, what matters, trained on × tested on; what goes to W&B at a sweep's end."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fixtures_results import write_experiment

from data_modules.files import read_parquet, write_json, write_parquet
from fau_mae.sweeps.figures import heat_map, trained_on
from fau_mae.sweeps.importance import importance
from fau_mae.sweeps.results import summarise
from fau_mae.sweeps.sweep_file import create_trial, find_sweep, grid, load_sweep

FauMae = Callable[..., int]


@pytest.fixture
def swept(tmp_path: Path) -> Path:
    """A finished severity sweep of made-up results: the nearer training is to the test, the better."""
    folder = tmp_path / "swept"
    sweep = load_sweep(find_sweep("severity"), folder)
    folder.mkdir()
    (folder / "sweep.yaml").write_bytes(find_sweep("severity").read_bytes())
    source = write_experiment(tmp_path / "made-up", subjects=5, frames=12, severities=(0.25, 0.5, 0.75))
    results = read_parquet(source / "results.parquet")
    results = results[results["method"] == "student"]
    for number, parameters in enumerate(grid(sweep)):
        trial = create_trial(folder, number, parameters)
        low, high = parameters["data.occlusion.severity_range"]
        off = (results["severity"] - (low + high) / 2).abs()
        known = [results["kind"].isin([*parameters["data.occlusion.kinds"], "none"])]
        write_parquet(
            trial.folder / "results.parquet", results.assign(auroc=0.9 - 0.2 * off + 0.05 * known[0])
        )
        trial.state, trial.value, trial.seconds = "finished", 0.7 + 0.1 * high, 60.0
        trial.write()
    return folder


@pytest.mark.usefixtures("no_wandb")
def test_a_page_names_the_best_and_what_matters(fau_mae: FauMae, swept: Path, tmp_path: Path) -> None:
    summarise(load_sweep(swept / "sweep.yaml", swept))
    last = swept / "trial-0006/student/checkpoints/last.ckpt"
    last.parent.mkdir(parents=True)
    last.touch()
    assert fau_mae("report", swept, "--out", tmp_path / "page.html") == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "The best: trial-0006, 0.7900" in page and str(last) in page
    assert page.count("<svg") == 3  # lines, map, ladder; and nothing from elsewhere
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page) and "<script" not in page
    assert "tested on block" in page and "30% to 60%" in page
    shares = re.findall(r"<code>(data\.[\w.]+)</code></td><td>.*?</span> ([\d.]+)<", page)
    assert shares[0] == ("data.occlusion.severity_range", "1.00") and float(shares[1][1]) < 0.05
    assert fau_mae("report", swept, "--out", tmp_path / "page.html") == 0  # its own page is replaced
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page


def test_training_and_test_are_set_against_each_other(swept: Path) -> None:
    """Every cell is the mean of the trials that were trained so; the nearest training is best in each column."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "disabled")
        summarise(load_sweep(swept / "sweep.yaml", swept))
    table = read_parquet(swept / "results.parquet")
    cells = trained_on(table)
    assert cells is not None and len(cells["trained"].unique()) == 12
    one = cells[
        (cells["trained"] == "block 30% to 60%") & (cells["kind"] == "block") & (cells["severity"] == 0.5)
    ]
    assert one["auroc"].item() == pytest.approx(0.9 - 0.2 * 0.05 + 0.05)
    block = cells[(cells["kind"] == "block") & cells["trained"].str.startswith("block")]
    best = block.loc[block.groupby("severity")["auroc"].idxmax()].set_index("severity")["trained"]
    assert best[0.25] == "block 10% to 30%" and best[0.75] == "block 60% to 90%"
    figure = heat_map(cells)
    assert [axis.get_title() for axis in figure.axes] == ["tested on patches", "tested on block"]
    assert (swept / "trained-on-tested-on.png").stat().st_size > 10_000
    alike = table.assign(**{"data.occlusion.severity_range": json.dumps([0.1, 0.9])})
    assert (
        trained_on(alike) is None and trained_on(table.drop(columns="data.occlusion.severity_range")) is None
    )


def test_the_map_is_on_wandb_once(swept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    sweep = load_sweep(swept / "sweep.yaml", swept)
    for _ in range(2):
        summarise(sweep)
    (run,) = (swept / "wandb").glob("offline-run-*")
    assert list(run.glob("files/media/images/occlusion/trained_on_tested_on_*.png"))
    assert list(run.glob("files/media/table/occlusion/trained_on_*.json"))


def test_importance_is_the_share_explained_less_chance() -> None:
    draws = np.random.default_rng(0)
    count = 400
    table = pd.DataFrame(
        {
            "a": draws.integers(3, size=count),
            "b": draws.uniform(0, 1, count),
            "c": draws.integers(2, size=count),
        }
    )
    table["value"] = table["a"] + 0.0 * table["c"] + draws.normal(0, 1, count)
    shares = importance(table, ["a", "b", "c"], "value")
    explained = np.var([0, 1, 2]) / (np.var([0, 1, 2]) + 1)
    assert shares["a"] == pytest.approx(explained, abs=0.08) and shares["b"] < 0.03 and shares["c"] < 0.03
    few = importance(table.head(2).assign(a=[0, 1]), ["a"], "value")
    assert np.isnan(few["a"])


@pytest.mark.usefixtures("no_wandb")
def test_what_is_no_page_is_one_line(
    fau_mae: FauMae, swept: Path, report_experiments, tmp_path: Path, capsys
) -> None:
    assert fau_mae("report", swept, report_experiments[0], "--out", tmp_path / "p.html") == 2
    assert "is a sweep: give it alone" in capsys.readouterr().err
    for path in swept.glob("trial-*/trial.json"):
        values = json.loads(path.read_text())
        write_json(path, values | {"state": "waiting", "value": None})
    assert fau_mae("report", swept, "--out", tmp_path / "p.html") == 2
    assert "no trial has logged val/auroc yet" in capsys.readouterr().err
    (swept / "sweep.yaml").write_text("method: grid")
    assert fau_mae("report", swept, "--out", tmp_path / "p.html") == 2
    assert not (tmp_path / "p.html").exists() and "Traceback" not in capsys.readouterr().err
