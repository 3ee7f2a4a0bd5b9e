"""The report: self-contained, complete, small, safe with odd names; the static figure."""

import base64
import re
import shutil
from io import StringIO

import fixtures_results as fixtures
import pandas as pd
import pytest
from fixtures_results import page_data
from PIL import Image
from rich.console import Console

from data_modules.errors import UserError
from fau_mae.evaluation.fold_scores import fold_scores
from fau_mae.evaluation.scored_run import read_run
from fau_mae.evaluation.scoring import METRICS, score_predictions
from fau_mae.reports import page_data as report_data
from fau_mae.reports.figures import curve_figure
from fau_mae.reports.page import write_report
from fau_mae.reports.terminal import fold_table, macro_table

ODD_NAME = "a<!--<script>&"


@pytest.fixture(scope="module")
def experiments(report_experiments):
    return report_experiments


@pytest.fixture(scope="module")
def page(report_page):
    return report_page


def test_report_is_one_small_file_that_loads_nothing(page):
    html = page.read_text()
    assert page.stat().st_size < 1_000_000
    assert [p.name for p in page.parent.iterdir()] == ["report.html"]
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", html)
    addresses = set(re.findall(r"https?://[\w./]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # the SVG namespace, a name that is never fetched


def test_report_holds_what_the_results_say(page, experiments):
    data = page_data(page)
    assert [e["name"] for e in data["experiments"]] == ["plain", ODD_NAME]
    for experiment, folder in zip(data["experiments"], experiments):
        results = pd.read_parquet(folder / "results.parquet")
        assert experiment["thresholds"] == ["by_visibility"]
        shown = {(r["m"], r["k"], r["s"]): r for r in experiment["scores"]}
        cells = results.groupby(["method", "mask_source", "kind", "severity"])
        assert len(shown) == len(cells)
        for (method, mask, kind, severity), rows in cells:
            record = shown[f"{method}-{mask}", kind, severity]
            for i, au in enumerate([*experiment["aus"], "macro"]):
                own = rows[rows["au"] == au]
                for metric in METRICS:
                    shown_value = float("nan") if record[metric][i] is None else record[metric][i]
                    assert shown_value == pytest.approx(own[metric].mean(), abs=1e-4, nan_ok=True)
            assert record["runs"]["f1"] == pytest.approx(
                own.sort_values(["fold", "seed"])["f1"].tolist(), abs=1e-4
            )
        stages = {s["stage"]: s for s in experiment["stages"] if s["settings"]}
        assert stages["student"]["settings"]["model.init_args.learning_rate"] == "0.0007"
        assert stages["teacher"]["curves"]["val/auroc"][-1][1] > 0.8
        assert {e["s"] for e in experiment["examples"]} == {0, 0.25, 0.75}
        reliability = {(r["m"], r["k"], r["s"]) for r in experiment["reliability"]}
        assert reliability == set(shown)


def test_every_pair_of_methods_is_compared_also_across_experiments(page):
    data = page_data(page)
    keys = [f"{e}/{m['id']}" for e, own in enumerate(data["experiments"]) for m in own["methods"]]
    pairs = {(d["a"], d["b"]): d for d in data["differences"]}
    assert set(pairs) == {(a, b) for i, a in enumerate(keys) for b in keys[i + 1 :]}
    assert pairs["0/student-oracle", "1/student-oracle"]["folds"] == [1]
    within = pairs["0/clean-none", "0/student-oracle"]
    assert "folds" not in within
    assert [row[0] for row in within["gaps"]["auroc"]["all"]] == [0.25, 0.75, None]
    assert within["gaps"]["auroc"]["block"][1][3] < 0  # clean is worse under a large block, and that is sure


def test_other_faces_are_not_compared(experiments, tmp_path):
    other = fixtures.write_experiment(
        tmp_path / "other", folds=(3,), subjects=5, frames=12, severities=(0.25,), kinds=("block",)
    )
    write_report([read_run(experiments[0]), read_run(other)], tmp_path / "report.html")
    pairs = {(d["a"][0], d["b"][0]) for d in page_data(tmp_path / "report.html")["differences"]}
    assert pairs == {("0", "0"), ("1", "1")}


def test_methods_of_some_cells_and_seeds_are_shown_where_they_were_measured(tmp_path):
    """A specialist is not asked on clean faces, an ablation not in every seed; terminal tables show dashes there."""
    size = {"subjects": 4, "frames": 8, "severities": (0.25, 0.75)}
    folder = fixtures.write_experiment(tmp_path / "several", seeds=(0, 1), **size)
    fixtures.add_method(folder, "specialist-oracle", cells="*-0.?5")
    fixtures.add_method(folder, "partial-oracle", cells="*-0.25")
    fixtures.add_method(folder, "ablation-oracle", runs="*-seed1")
    fixtures.score_experiment(folder)
    write_report([read_run(folder)], tmp_path / "report.html")
    data = page_data(tmp_path / "report.html")
    (experiment,) = data["experiments"]
    for method, cells in (("specialist", 4), ("partial", 2), ("ablation", 5)):
        assert sum(r["m"] == f"{method}-oracle" for r in experiment["scores"]) == cells
    runs = next(r["runs"]["f1"] for r in experiment["scores"] if r["m"] == "ablation-oracle")
    assert runs[0] is None and runs[1] > 0  # in the order of the seeds
    pairs = {(d["a"], d["b"]): d for d in data["differences"]}
    assert all("folds" not in d for d in pairs.values())
    gaps = pairs["0/student-oracle", "0/specialist-oracle"]["gaps"]["f1"]
    assert set(gaps) == {"patches", "block", "all"} and gaps["block"][0] == [0.25, 0, 0, 0]

    results = pd.read_parquet(folder / "results.parquet")
    scores = fold_scores(read_run(folder))
    means = scores[scores["severity"] == "mean"].groupby("method").size()
    assert "partial" not in means and means["specialist"] == means["clean"]
    console = Console(width=120, file=StringIO())
    for table in (*fold_table(scores), *macro_table(results)):
        console.print(table)
    text = console.file.getvalue()
    assert "specialist" in text and "partial" in text and "nan" not in text
    curve_figure(results, tmp_path / "curves.png")


def test_same_results_give_the_same_page(experiments, tmp_path):
    for name in ("once", "again"):
        write_report([read_run(experiments[0])], tmp_path / f"{name}.html")
    assert (tmp_path / "again.html").read_bytes() == (tmp_path / "once.html").read_bytes()


def test_pictures_and_curves_share_the_room_there_is(experiments, monkeypatch):
    """Many experiments show fewer faces and coarser curves each, never half a face or a curve without its end."""
    examples = pd.read_parquet(experiments[0] / "fold1-seed0/predictions/test/examples.parquet")
    pictures = examples[examples["sample_id"] == 11][["jpeg", "reconstruction"]].to_numpy().ravel()
    one_face = sum(map(len, filter(None, pictures))) * 4 / 3
    monkeypatch.setattr(report_data, "EXAMPLE_BYTES", 2 * round(one_face * 1.5))
    monkeypatch.setattr(report_data, "CURVE_VALUES", 100)
    for folder in experiments:
        shown = report_data.experiment_data(read_run(folder), "name", share=0.5)
        assert {e["id"] for e in shown["examples"]} == {"11"}
        curve = shown["stages"][0]["curves"]["train/loss"]
        assert len(curve) == 20 and curve[-1][0] == 390


def test_examples_hold_what_the_autoencoder_filled_in(page, experiments):
    examples = pd.read_parquet(experiments[0] / "fold1-seed0/predictions/test/examples.parquet")
    shown = page_data(page)["experiments"][0]["examples"]
    assert [base64.b64decode(e["filled"]) for e in shown] == [r or b"" for r in examples["reconstruction"]]
    assert {e["k"] for e in shown if not e["filled"]} == {"none"}


def test_older_examples_and_runs_that_reconstruct_nothing_are_shown_without(experiments, tmp_path):
    run = tmp_path / "plain"
    shutil.copytree(experiments[0], run)
    path = run / "fold1-seed0/predictions/test/examples.parquet"
    examples = pd.read_parquet(path)
    for name, table in (
        ("older", examples.drop(columns="reconstruction")),
        ("without", examples.assign(reconstruction=None)),
    ):
        table.to_parquet(path)
        write_report([read_run(run)], tmp_path / f"{name}.html")
        shown = page_data(tmp_path / f"{name}.html")["experiments"][0]["examples"]
        assert [base64.b64decode(e["jpeg"]) for e in shown] == examples["jpeg"].tolist()
        assert {e["filled"] for e in shown} == {""}


def test_without_predictions_the_page_goes_without_intervals(experiments, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(experiments[0] / "results.parquet", bare)
    write_report([read_run(bare)], tmp_path / "report.html")
    data = page_data(tmp_path / "report.html")
    assert data["differences"] == [] and "estimates" not in data["experiments"][0]
    assert len(data["experiments"][0]["scores"]) == 25


def test_threshold_rule_is_recorded_and_changes_f1_alone(experiments):
    run = experiments[0] / "fold1-seed0"
    by_rule = {
        rule: score_predictions(run, experiment="e", dataset="d", fold=1, seed=0, threshold_rule=rule)
        for rule in ("by_visibility", "clean", "fixed")
    }
    for rule, results in by_rule.items():
        assert (results["threshold_rule"] == rule).all()
        assert results["auroc"].equals(by_rule["fixed"]["auroc"])
    assert not by_rule["clean"]["f1"].equals(by_rule["by_visibility"]["f1"])
    clean_faces = [r[r["severity"] == 0]["f1"].tolist() for r in by_rule.values()]
    assert clean_faces[0] == clean_faces[1] != clean_faces[2]
    with pytest.raises(UserError, match="use one of by_visibility, clean, fixed"):
        score_predictions(run, experiment="e", dataset="d", fold=1, seed=0, threshold_rule="best")


def test_a_folder_without_results_is_a_user_error_and_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="holds no results"):
        write_report([read_run(tmp_path)], tmp_path / "out" / "report.html")
    assert not (tmp_path / "out").exists()


def test_curve_figure_is_a_picture(experiments, tmp_path):
    results = pd.read_parquet(experiments[0] / "results.parquet")
    curve_figure(results, tmp_path / "figures" / "curves.png")
    with Image.open(tmp_path / "figures" / "curves.png") as picture:
        assert min(picture.size) > 400 and len(picture.convert("RGB").getcolors(1 << 20)) > 10
