"""The subject bootstrap, what is derived from its curves, and the split by hidden regions."""

import fixtures_results as fixtures
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from data_modules.errors import UserError
from data_modules.facs import DISFA_AUS
from fau_mae import metrics
from fau_mae.evaluation import statistics
from fau_mae.evaluation.regions import hidden_visible_f1, hidden_visible_table, region_hidden_share

STUDENT = ("student", "oracle")
CLEAN = ("clean", "none")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("statistics") / "quickstart"
    return fixtures.write_experiment(
        folder, folds=(1, 2), seeds=(0, 1), subjects=6, frames=15, severities=(0.25, 0.75), kinds=("patches",)
    )


@pytest.fixture(scope="module")
def results(experiment):
    return pd.read_parquet(experiment / "results.parquet")


@pytest.fixture(scope="module")
def curves(experiment, results):
    return statistics.bootstrap(experiment, results, replicates=200)


def test_estimates_are_the_table_s_means_over_folds_and_seeds(curves, results):
    macro = results[results["au"] == "macro"].groupby(["method", "mask_source", "kind", "severity"])
    assert len(macro) == 15
    for cell, rows in macro:
        for metric in statistics.METRICS:
            assert curves.at(*cell, metric)[0] == pytest.approx(rows[metric].mean(), abs=1e-9)
            assert not np.isnan(curves.at(*cell, metric)).any()


def test_a_draw_equals_scoring_the_drawn_people_s_faces_again(experiment, results):
    """The bootstrap's matrix products against the plain way: repeat each drawn subject's rows and score."""
    scored = next(statistics.scored_cells(experiment, results))
    people, index = np.unique(scored.faces.subject.astype(str), return_inverse=True)
    weights = statistics.subject_weights(len(people), 3, np.random.default_rng(5))
    assert (weights.sum(1) == len(people)).all()
    fast = statistics._resampled(scored, index, weights)
    for draw, weight in enumerate(weights):
        rows = np.repeat(np.arange(len(index)), weight[index].astype(int))
        p, y = scored.faces.probabilities[rows], scored.faces.labels[rows]
        plain = metrics.au_scores(p, y, scored.thresholds)
        aucs = [roc_auc_score(b[b >= 0], a[b >= 0]) for a, b in zip(p.T, y.T) if {0, 1} <= set(b.tolist())]
        assert fast["f1"][draw] == pytest.approx(np.nanmean(plain["f1"]))
        assert fast["auroc"][draw] == pytest.approx(np.mean(aucs))


def test_draws_are_repeatable_and_pair_the_methods(experiment, results, curves):
    again = statistics.bootstrap(experiment, results, replicates=200)
    cell = ("patches", 0.75)
    assert np.array_equal(again.at(*STUDENT, *cell), curves.at(*STUDENT, *cell))
    paired = curves.at(*STUDENT, *cell) - curves.at("student", "blind", *cell)
    shuffled = curves.at(*STUDENT, *cell)[1:] - np.random.default_rng(0).permutation(
        curves.at("student", "blind", *cell)[1:]
    )
    assert paired[1:].std() < shuffled.std()  # shared people cancel out


def test_more_people_give_narrower_intervals():
    rng = np.random.default_rng(0)
    widths = []
    for people in (8, 80):
        values = np.linspace(-1, 1, people)
        means = statistics.subject_weights(people, 500, rng) @ values / people
        found = statistics.interval(means)
        assert found.value == pytest.approx(values.mean(), abs=1e-9)
        assert found.low < found.value < found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 2
    assert statistics.Interval(0.1, 0.05, 0.2).excludes_zero
    assert not statistics.Interval(0.1, -0.05, 0.2).excludes_zero


def test_derived_figures_of_made_up_curves():
    f1 = {0.0: 0.8, 0.5: 0.6, 1.0: 0.2}
    cells = {
        (*CLEAN, "block" if s else "none", s, m): np.full(4, v)
        for s, v in f1.items()
        for m in ("f1", "auroc")
    }
    perfect = {(*STUDENT, kind, s, m): np.ones(4) for (_, _, kind, s, m) in cells}
    curves = statistics.Curves(cells | perfect)
    assert curves.mean(*CLEAN, "block") == pytest.approx(0.4)
    assert curves.retention(*CLEAN, "block", 0.5) == pytest.approx(0.75)
    assert curves.robust_f1(*CLEAN, "block") == pytest.approx(0.5 * (0.7 + 0.4))
    assert curves.robust_f1(*STUDENT, "block") == pytest.approx(1.0)
    assert curves.relative_drop(*CLEAN, "block") == pytest.approx(1.0)
    assert curves.relative_drop(*STUDENT, "block") == pytest.approx(0.0)


def test_tables_hold_every_cell_and_find_the_better_method(curves):
    summary = statistics.summary_table(curves).set_index(
        ["method", "mask_source", "kind", "severity", "metric"]
    )
    assert ((summary["low"] <= summary["high"]) | summary["low"].isna()).all()
    assert len(summary) == 5 * (2 + 2 * 3 + 4)
    gaps = statistics.difference_table(curves, *STUDENT)
    assert len(gaps) == 4 * 2 * 3
    mean = gaps[gaps["severity"].isna() & (gaps["rival"] == "clean") & (gaps["metric"] == "f1")].iloc[0]
    expected = curves.mean(*STUDENT, "patches") - curves.mean(*CLEAN, "patches")
    assert mean["value"] == pytest.approx(expected[0])
    assert mean["counts"] and mean["low"] > 0


def test_predictions_that_were_never_scored_are_refused(experiment, results):
    with pytest.raises(UserError, match="score the experiment again"):
        list(statistics.scored_cells(experiment, results[results["method"] != "clean"]))


def test_region_share_is_the_hidden_area_of_the_region():
    grid = 8
    visible = np.ones((3, grid * grid), bool)
    visible[1] = False
    visible[2].reshape(grid, grid)[: grid // 2] = False  # the upper half is hidden
    shares = region_hidden_share(visible, DISFA_AUS)
    assert shares[0] == pytest.approx(0) and shares[1] == pytest.approx(1)
    assert shares[2, DISFA_AUS.index(1)] == pytest.approx(1)  # brows
    assert shares[2, DISFA_AUS.index(25)] == pytest.approx(0)  # mouth
    assert 0 < shares[2, DISFA_AUS.index(6)] < 1  # cheeks lie across the middle


def test_hidden_and_visible_f1_part_the_faces_of_each_au():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, (200, 3))
    hidden = np.repeat(np.arange(200) < 100, 3).reshape(200, 3)
    right_where_visible = np.where(hidden, 1 - labels, labels).astype(float)
    assert hidden_visible_f1(right_where_visible, labels, 0.5, hidden.astype(float)) == (0.0, 1.0)
    assert np.isnan(hidden_visible_f1(right_where_visible, labels, 0.5, np.zeros((200, 3)))[0])


def test_hidden_visible_table_covers_the_sweep(experiment, results):
    table = hidden_visible_table(experiment, results)
    assert len(table) == 15
    clean = table[table["severity"] == 0]
    assert clean["hidden_f1"].isna().all() and clean["visible_f1"].between(0, 1).all()
