"""The subject bootstrap, what is derived from its curves, and the split by hidden regions."""

import shutil

import fixtures_results as fixtures
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from data_modules.errors import UserError
from data_modules.facs import DISFA_AUS, au_region
from fau_mae import metrics
from fau_mae.evaluation import bootstrap, comparison, resampling
from fau_mae.evaluation.curves import METRICS, Curves, Interval, MethodKey, interval
from fau_mae.evaluation.regions import hidden_visible_f1, region_hidden_share
from fau_mae.evaluation.scored_run import read_run
from fau_mae.evaluation.scoring import Thresholds, scored_cells

STUDENT = MethodKey("student", "oracle")
BLIND = MethodKey("student", "blind")
CLEAN = MethodKey("clean", "none")


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
def curves(experiment):
    return read_run(experiment, replicates=200).curves()


def test_estimates_are_the_table_s_means_over_folds_and_seeds(curves, results):
    macro = results[results["au"] == "macro"].groupby(["method", "mask_source", "kind", "severity"])
    assert len(macro) == 15
    for cell, rows in macro:
        for metric in METRICS:
            values = curves.at(MethodKey(*cell[:2]), *cell[2:], metric)
            assert values[0] == pytest.approx(rows[metric].mean(), abs=1e-9)
            assert not np.isnan(values).any()


def test_a_draw_equals_scoring_the_drawn_people_s_faces_again(experiment):
    """The bootstrap's sums against the plain way: repeat each drawn person's rows and score."""
    scored = next(scored_cells(experiment / "fold1-seed0", 1, 0, Thresholds(experiment / "fold1-seed0")))
    person = scored.faces.person
    draws = bootstrap.draw_people(len(scored.faces.people), 3, np.random.default_rng(5))
    assert (draws.sum(0) == len(draws)).all()
    fast = bootstrap._resampled(scored, draws)
    for draw, weight in enumerate(draws.T):
        rows = np.repeat(np.arange(len(person)), weight[person])
        p, y = scored.faces.probabilities[rows], scored.faces.labels[rows]
        plain = metrics.au_scores(p, y, scored.thresholds)
        aucs = [roc_auc_score(b[b >= 0], a[b >= 0]) for a, b in zip(p.T, y.T) if {0, 1} <= set(b.tolist())]
        assert fast["f1"][draw] == pytest.approx(np.nanmean(plain["f1"]))
        assert fast["auroc"][draw] == pytest.approx(np.mean(aucs))


@settings(max_examples=60, deadline=None)
@given(
    people=st.integers(1, 12),
    faces=st.integers(0, 60),
    scores=st.sampled_from([1, 3, 1000]),
    seed=st.integers(0, 2**32 - 1),
)
def test_auroc_of_draws_is_the_same_over_pairs_of_people_and_down_the_sorted_faces(
    people: int, faces: int, scores: int, seed: int
) -> None:
    """Both ways, and the one that sizes choose, against all pairs of faces; ties, unknown labels, one class alone."""
    rng = np.random.default_rng(seed)
    person, p = rng.integers(0, people, faces), rng.integers(0, scores, faces) / scores
    y = rng.integers(-1, 2, faces)
    (ranking,) = metrics.rankings(p[:, None], y[:, None])
    draws = bootstrap.draw_people(people, 5, rng)
    right = (p[y == 1][:, None] > p[y == 0]) + (p[y == 1][:, None] == p[y == 0]) / 2
    positive, negative = (draws[person[y == value]].astype(float) for value in (1, 0))
    ordered = np.einsum("ir,ij,jr->r", positive, right, negative)
    possible = positive.sum(0) * negative.sum(0)
    expected = [a / b if b else np.nan for a, b in zip(ordered, possible)]
    assert resampling.auroc_of_draws(ranking, person, draws) == pytest.approx(
        expected, abs=1e-12, nan_ok=True
    )
    sorted_people = person[ranking.faces], ranking.present, ranking.predicted
    pairs = resampling._pairs_of_people(*sorted_people, people)
    assert np.array_equal(resampling._sums_of_pairs(pairs, draws), ordered)
    assert np.array_equal(resampling._sums_of_walks(*sorted_people, draws), ordered)


@pytest.mark.parametrize("people", [1, 5, 300])
def test_people_are_drawn_as_at_once_whatever_the_size_of_a_block(people):
    draws = bootstrap.draw_people(people, 150, np.random.default_rng(3))
    at_once = np.random.default_rng(3).multinomial(people, np.full(people, 1 / people), size=150)
    assert np.array_equal(draws[:, 1:].T, at_once) and (draws[:, 0] == 1).all()


def test_draws_are_repeatable_and_pair_the_methods(experiment, curves):
    again = read_run(experiment, replicates=200).curves()
    cell = ("patches", 0.75)
    assert np.array_equal(again.at(STUDENT, *cell), curves.at(STUDENT, *cell))
    paired = curves.gap(STUDENT, curves, BLIND, *cell, "f1")
    assert paired == pytest.approx(curves.at(STUDENT, *cell) - curves.at(BLIND, *cell))
    shuffled = curves.at(STUDENT, *cell)[1:] - np.random.default_rng(0).permutation(
        curves.at(BLIND, *cell)[1:]
    )
    assert paired[1:].std() < shuffled.std()  # shared people cancel out


def test_more_people_give_narrower_intervals():
    rng = np.random.default_rng(0)
    widths = []
    for people in (8, 80):
        values = np.linspace(-1, 1, people)
        means = values @ bootstrap.draw_people(people, 500, rng) / people
        found = interval(means)
        assert found.value == pytest.approx(values.mean(), abs=1e-9)
        assert found.low < found.value < found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 2
    assert Interval(0.1, 0.05, 0.2).excludes_zero
    assert not Interval(0.1, -0.05, 0.2).excludes_zero


def test_derived_figures_of_made_up_curves():
    f1 = {0.0: 0.8, 0.5: 0.6, 1.0: 0.2}
    cells = {
        (*CLEAN, "block" if s else "none", s, m): {1: np.full(4, v)}
        for s, v in f1.items()
        for m in ("f1", "auroc")
    }
    perfect = {(*STUDENT, kind, s, m): {1: np.ones(4)} for (_, _, kind, s, m) in cells}
    curves = Curves(cells | perfect, {})
    assert curves.mean(CLEAN, "block") == pytest.approx(0.4)
    assert curves.retention(CLEAN, "block", 0.5) == pytest.approx(0.75)
    assert curves.robust_f1(CLEAN, "block") == pytest.approx(0.5 * (0.7 + 0.4))
    assert curves.robust_f1(STUDENT, "block") == pytest.approx(1.0)
    assert curves.relative_drop(CLEAN, "block", CLEAN) == pytest.approx(1.0)
    assert curves.relative_drop(STUDENT, "block", CLEAN) == pytest.approx(0.0)


def test_tables_hold_every_cell_and_find_the_better_method(curves):
    summary = comparison.summary_table(curves).set_index(
        ["method", "mask_source", "kind", "severity", "metric"]
    )
    assert ((summary["low"] <= summary["high"]) | summary["low"].isna()).all()
    assert len(summary) == 5 * (2 + 2 * 3 + 4)
    gaps = comparison.difference_table(curves, STUDENT, curves, CLEAN)
    assert len(gaps) == 2 * (1 + 3)
    mean = gaps[gaps["severity"].isna() & (gaps["metric"] == "f1")].iloc[0]
    expected = curves.mean(STUDENT, "patches") - curves.mean(CLEAN, "patches")
    assert mean["value"] == pytest.approx(expected[0])
    assert mean["counts"] and mean["low"] > 0


@pytest.fixture(scope="module")
def two_kinds(tmp_path_factory):
    """Two experiments on the same people, of two kinds each; the second with other seeds and one fold more."""
    root = tmp_path_factory.mktemp("two")
    size = {"subjects": 5, "frames": 12, "severities": (0.25, 0.75), "kinds": ("patches", "block")}
    first = fixtures.write_experiment(root / "first", **size)
    second = fixtures.write_experiment(root / "second", folds=(1, 2), seeds=(3,), **size)
    return [first, second]


def test_mean_over_kinds_is_the_mean_of_what_each_kind_says(two_kinds):
    curves = read_run(two_kinds[0], replicates=50).curves()
    summary = comparison.summary_table(curves)
    own = summary[(summary["method"] == "student") & (summary["mask_source"] == "oracle")]
    for metric in ("robust_f1", "relative_drop", "mean_auroc"):
        by_kind = own[own["metric"] == metric].set_index("kind")["value"]
        assert by_kind["all"] == pytest.approx((by_kind["patches"] + by_kind["block"]) / 2)
    at = own[(own["severity"] == 0.75) & (own["metric"] == "f1")].set_index("kind")["value"]
    assert at["all"] == pytest.approx((at["patches"] + at["block"]) / 2)


def test_experiments_are_compared_on_the_faces_and_masks_they_share(two_kinds, tmp_path):
    first, second = (read_run(one, replicates=50).curves() for one in two_kinds)
    cell = ("block", 0.75)
    assert second.folds(STUDENT) == [1, 2] and first.shared_folds(STUDENT, second, STUDENT) == [1]
    gap = first.gap(STUDENT, second, STUDENT, *cell, "f1")
    alone = read_run(two_kinds[1], replicates=50).curves([(1, 3)])
    assert alone.folds(STUDENT) == [1]
    assert np.array_equal(gap, first.at(STUDENT, *cell) - alone.at(STUDENT, *cell))
    other_masks = tmp_path / "other"
    shutil.copytree(two_kinds[0], other_masks)
    regions = other_masks / "fold1-seed0/predictions/test/regions/block-0.75.parquet"
    shares = pd.read_parquet(regions)
    shares.assign(AU12=1 - shares["AU12"]).to_parquet(regions)
    masked = read_run(other_masks, replicates=50).curves()
    assert first.gap(STUDENT, masked, STUDENT, *cell, "f1") is None
    assert not first.gap(STUDENT, masked, STUDENT, "block", 0.25, "f1").any()


def test_relative_drop_takes_the_severities_that_both_were_asked_at():
    cells = {(*CLEAN, "block", s, "f1"): {1: np.full(3, 0.5)} for s in (0.25, 0.5)}
    cells |= {(*STUDENT, "block", s, "f1"): {1: np.full(3, v)} for s, v in ((0.5, 0.75), (0.9, 0.0))}
    curves = Curves(cells, {})
    assert curves.relative_drop(STUDENT, "block", CLEAN) == pytest.approx(0.5)
    assert curves.relative_drop(STUDENT, "upper", CLEAN) is None


def test_a_method_of_some_cells_has_the_figures_of_those_cells(experiment, tmp_path):
    """One model per severity reads no clean faces, and may be missing at a severity."""
    folder = tmp_path / "some"
    shutil.copytree(experiment, folder)
    fixtures.add_method(folder, "specialist-oracle", cells="patches-*")
    fixtures.add_method(folder, "partial-oracle", cells="patches-0.25", wrong=("AU12",))
    fixtures.score_experiment(folder)
    curves = read_run(folder, replicates=20).curves()
    specialist, partial = (MethodKey(name, "oracle") for name in ("specialist", "partial"))
    summary = comparison.summary_table(curves)
    found = {name: set(rows["metric"]) for name, rows in summary.groupby("method")}
    assert found["specialist"] == {"f1", "auroc", "mean_f1", "mean_auroc", "relative_drop"}
    assert found["partial"] == {"f1", "auroc"}
    assert found["clean"] >= {"retention", "robust_f1"}
    own = summary[summary["method"].isin(["specialist", "student"]) & (summary["metric"] == "mean_f1")]
    assert own.groupby("mask_source")["value"].nunique()["oracle"] == 1  # it says what the student says
    gaps = comparison.difference_table(curves, STUDENT, curves, partial)
    assert set(gaps["severity"].dropna()) == {0.25} and (gaps["value"] > 0).all()
    assert curves.folds(partial) == [1, 2] == curves.shared_folds(STUDENT, curves, partial)
    assert curves.shared_folds(specialist, curves, STUDENT) == [1, 2]


def test_predictions_that_were_never_scored_are_refused(experiment, results, tmp_path):
    shutil.copytree(experiment, tmp_path / "older")
    results[results["method"] != "clean"].to_parquet(tmp_path / "older/results.parquet")
    with pytest.raises(UserError, match="score the experiment again"):
        read_run(tmp_path / "older")


def test_region_share_is_the_hidden_area_of_the_region():
    grid = 8
    visible = np.ones((3, grid * grid), bool)
    visible[1] = False
    visible[2].reshape(grid, grid)[: grid // 2] = False  # the upper half is hidden
    shares = region_hidden_share(visible, [au_region(au, "canonical") for au in DISFA_AUS])
    assert shares[0] == pytest.approx(0) and shares[1] == pytest.approx(1)
    assert shares[2, DISFA_AUS.index(1)] == pytest.approx(1)  # brows
    assert shares[2, DISFA_AUS.index(25)] == pytest.approx(0)  # mouth
    assert 0 < shares[2, DISFA_AUS.index(6)] < 1  # cheeks lie across the middle


def test_hidden_and_visible_f1_part_the_faces_of_each_au():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, (200, 3))
    hidden = np.repeat(np.arange(200) < 100, 3).reshape(200, 3)
    right_where_visible = np.where(hidden, 1 - labels, labels).astype(float)
    flags = metrics.outcomes(right_where_visible, labels)
    assert hidden_visible_f1(flags, hidden.astype(float)) == (0.0, 1.0)
    assert np.isnan(hidden_visible_f1(flags, np.zeros((200, 3)))[0])


def test_hidden_visible_table_covers_the_ladder(experiment):
    table = read_run(experiment, replicates=2).hidden_visible()
    assert len(table) == 15
    clean = table[table["severity"] == 0]
    assert clean["hidden_f1"].isna().all() and clean["visible_f1"].between(0, 1).all()
