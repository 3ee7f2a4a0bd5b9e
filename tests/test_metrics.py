"""Metrics against scikit-learn and plain references; thresholds; scoring of a run's stored predictions."""

import math
import socket

import fixtures_results as fixtures
import numpy as np
import pandas as pd
import pytest
import torch
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference
from torchmetrics.functional.classification import binary_calibration_error

from data_modules.errors import UserError
from fau_mae import metrics
from fau_mae.evaluation import predictions, scoring
from fau_mae.reports.terminal import macro_table
from fau_mae.tasks.face_metrics import AUMetrics


@st.composite
def faces(draw):
    """Probabilities with many ties, labels with unknowns, thresholds; AUs that are all one class included."""
    n, a = draw(st.integers(1, 40)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    probabilities = rng.integers(0, draw(st.sampled_from([2, 10, 1000])) + 1, (n, a)) / 10.0
    labels = (rng.random((n, a)) < rng.random(a)).astype(np.int8)
    labels[rng.random((n, a)) < 0.2] = -1
    return np.clip(probabilities, 0, 1), labels, rng.random(a)


def known(probabilities, labels, thresholds):
    """Per AU: scores, labels and threshold of the known faces alone."""
    for p, y, t in zip(probabilities.T, labels.T, thresholds):
        yield p[y >= 0], y[y >= 0], t


@settings(max_examples=60, deadline=None)
@given(faces())
def test_scores_agree_with_scikit_learn_and_are_nan_only_where_undefined(case):
    scores = metrics.au_scores(*case)
    for i, (p, y, t) in enumerate(known(*case)):
        predicted = (p >= t).astype(int)
        positives, both = y.sum(), 0 < y.sum() < len(y)
        expected = {
            "n": len(y),
            "positives": positives,
            "prevalence": y.mean() if len(y) else math.nan,
            "f1": reference.f1_score(y, predicted) if positives else math.nan,
            "precision": reference.precision_score(y, predicted) if predicted.any() else math.nan,
            "recall": reference.recall_score(y, predicted) if positives else math.nan,
            "accuracy": reference.accuracy_score(y, predicted) if len(y) else math.nan,
            "auroc": reference.roc_auc_score(y, p) if both else math.nan,
            "average_precision": reference.average_precision_score(y, p) if positives else math.nan,
            "floor_f1": reference.f1_score(y, np.ones_like(y)) if positives else math.nan,
        }
        for name, value in expected.items():
            assert scores[name][i] == pytest.approx(value, abs=1e-12, nan_ok=True), name


def test_calibration_error_agrees_with_torchmetrics():
    rng = np.random.default_rng(0)
    p = rng.random((500, 3))
    y = (rng.random((500, 3)) < p**2).astype(np.int8)
    ours = metrics.calibration_error(p, y)
    theirs = [
        float(binary_calibration_error(torch.tensor(a), torch.tensor(b), n_bins=metrics.CALIBRATION_BINS))
        for a, b in zip(p.T, y.T)
    ]
    assert ours == pytest.approx(theirs, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(faces())
def test_the_threshold_is_at_the_peak_of_the_smoothed_f1_curve(case):
    probabilities, labels, _ = case
    chosen = metrics.best_thresholds(metrics.rankings(probabilities, labels))
    for p, y, t in known(probabilities, labels, chosen):
        if not y.sum():
            assert t == 0.5
            continue
        cuts = np.unique(p)
        called = np.array([(p >= cut).sum() for cut in cuts])
        f1 = np.array([reference.f1_score(y, p >= cut) for cut in cuts])
        smoothed = np.array([f1[np.abs(called - count) <= 0.05 * len(p)].mean() for count in called])
        (mine,) = np.flatnonzero(called == (p >= t).sum())
        assert smoothed[mine] == pytest.approx(smoothed.max())


def test_macro_is_the_mean_over_defined_aus():
    assert metrics.macro([0.2, math.nan, 0.6]) == pytest.approx(0.4)
    assert math.isnan(metrics.macro([math.nan, math.nan]))
    assert metrics.macro(np.array([[0.1, 0.3], [math.nan, 0.5]])) == pytest.approx([0.2, 0.5])


def epoch(n=23, a=5):
    rng = np.random.default_rng(3)
    labels = rng.integers(-1, 2, (n, a)).astype(np.int8)
    return torch.tensor(rng.random((n, a)), dtype=torch.float32), torch.tensor(labels), torch.arange(n) * 7


def test_au_metrics_counts_a_repeated_face_once_and_forgets_on_reset():
    probabilities, labels, ids = epoch()
    once, padded = AUMetrics(), AUMetrics()
    once.update(probabilities, labels, ids)
    padded.update(probabilities[:20], labels[:20], ids[:20])
    padded.update(probabilities[15:], labels[15:], ids[15:])
    first = padded.compute()
    assert set(first) == {"auroc", "f1"}
    for name, value in once.compute().items():
        assert float(first[name]) == float(value)
    expected = np.nanmean(metrics.au_scores(probabilities.numpy(), labels.numpy())["auroc"])
    assert float(first["auroc"]) == pytest.approx(expected)
    padded.reset()
    padded.update(probabilities[:2], torch.zeros(2, 5, dtype=torch.int8), ids[:2])
    assert all(torch.isnan(value) for value in padded.compute().values())


def _rank(rank: int, port: int, queue) -> None:
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", world_size=2, rank=rank)
    probabilities, labels, ids = epoch()
    mine = torch.arange(rank, 24, 2) % 23  # the last face of rank 1 repeats the first, as a sampler pads
    metric = AUMetrics()
    metric.update(probabilities[mine], labels[mine], ids[mine])
    queue.put((rank, {name: float(value) for name, value in metric.compute().items()}))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_au_metrics_over_two_processes_equals_one():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = mp.get_context("spawn")
    queue = context.Queue()
    ranks = [context.Process(target=_rank, args=(rank, port, queue)) for rank in range(2)]
    for process in ranks:
        process.start()
    answers = dict(queue.get(timeout=120) for _ in ranks)
    for process in ranks:
        process.join()
    alone = AUMetrics()
    alone.update(*epoch())
    expected = {name: float(value) for name, value in alone.compute().items()}
    assert answers == {0: expected, 1: expected}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scoring") / "fold1-seed0"
    return fixtures.write_run(
        folder, np.random.default_rng(0), subjects=5, frames=20, severities=(0.25, 0.75)
    )


def score(run, **options):
    return scoring.score_predictions(run, experiment="e", dataset="d", fold=1, seed=0, **options)


def test_results_have_the_contract_s_columns_and_count_each_face_once(run):
    results = score(run, checkpoints={"student": "student/best.ckpt"})
    assert tuple(results.columns) == scoring.RESULT_COLUMNS
    assert not results.duplicated(list(scoring.KEYS)).any()
    assert set(results["au"]) == {*fixtures.AUS, "macro"}
    macro = results[results["au"] == "macro"]
    assert (macro["n"] == 100).all()  # the stored files repeat three faces
    assert set(macro.loc[macro["method"] == "student", "checkpoint"]) == {"student/best.ckpt"}
    assert set(macro[macro["severity"] == 0]["kind"]) == {"none"}


def test_results_are_what_scikit_learn_says_of_the_files(run):
    results = score(run, threshold_rule="fixed").set_index(list(scoring.KEYS[4:])).sort_index()
    labels = pd.read_parquet(run / "predictions/test/labels.parquet").set_index("sample_id")["AU12"]
    labels = labels[labels >= 0]
    predictions = pd.read_parquet(run / "predictions/test/student-blind/block-0.75.parquet")
    p = predictions.drop_duplicates("sample_id").set_index("sample_id")["AU12"].loc[labels.index]
    row = results.loc[("student", "blind", "block", 0.75, "AU12")]
    assert row["f1"] == pytest.approx(reference.f1_score(labels, p >= 0.5))
    assert row["auroc"] == pytest.approx(reference.roc_auc_score(labels, p))
    cell = results.loc[("student", "blind", "block", 0.75)]
    assert cell.loc["macro", "f1"] == pytest.approx(cell.drop("macro")["f1"].mean())


def test_threshold_rules_choose_on_the_stated_validation_faces(run):
    labels = predictions.read_labels(run / "predictions/validation")

    def best(name):
        faces = predictions.read_predictions(
            run / f"predictions/validation/clean-none/{name}.parquet", labels
        )
        return metrics.best_thresholds(metrics.rankings(faces.probabilities, faces.labels))

    cell = next(
        c
        for c in predictions.list_cells(run / "predictions/test")
        if c[:4] == ("clean", "none", "block", 0.75)
    )
    assert np.array_equal(
        scoring.Thresholds(run, "by_visibility").of(cell, len(fixtures.AUS)), best("block-0.75")
    )
    assert np.array_equal(
        scoring.Thresholds(run, "by_visibility").of(cell._replace(severity=0.3), len(fixtures.AUS)),
        best("block-0.25"),
    )
    assert np.array_equal(scoring.Thresholds(run, "clean").of(cell, len(fixtures.AUS)), best("none-0.00"))
    assert scoring.Thresholds(run, "fixed").of(cell, 5).tolist() == [0.5] * 5


def test_predictions_that_do_not_fit_their_labels_are_refused_in_one_line(run, tmp_path):
    labels = predictions.read_labels(run / "predictions/test")
    good = pd.read_parquet(run / "predictions/test/clean-none/none-0.00.parquet")
    for name, bad in {
        "lacks the columns AU12": good.drop(columns="AU12"),
        "no probabilities": good.assign(AU12=3.0),
        "faces that labels.parquet lacks": good.assign(sample_id=good["sample_id"] + 10**6),
    }.items():
        bad.to_parquet(tmp_path / "bad.parquet")
        with pytest.raises(UserError, match=name) as caught:
            predictions.read_predictions(tmp_path / "bad.parquet", labels)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="run the occlusion ladder"):
        score(tmp_path)


def test_macro_table_shows_every_method_and_the_floor_within_100_columns(run, capsys):
    from rich.console import Console

    tables = macro_table(score(run))
    assert [table.title for table in tables] == ["e · d · patches", "e · d · block"]
    for table in tables:
        Console(width=100).print(table)
    shown = capsys.readouterr().out
    assert shown.count("always positive") == 2 and shown.count("augmented") == 2 and "…" not in shown
