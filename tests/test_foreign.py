"""`evaluate_predictions`: a table of any model's AU probabilities becomes the same results table."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from data_modules.errors import UserError
from fau_mae.evaluation.score_table import evaluate_predictions
from fau_mae.evaluation.scored_run import read_run
from fau_mae.evaluation.scoring import RESULT_COLUMNS
from fau_mae.reports.page import write_report
from fau_mae.reports.terminal import macro_table


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (120, 2))
    probabilities = np.clip(labels * 0.3 + rng.random((120, 2)) * 0.6, 0, 1)
    return pd.DataFrame(
        {
            "sample_id": np.arange(120),
            "subject": np.repeat([f"S{i}" for i in range(6)], 20),
            "AU1": probabilities[:, 0],
            "AU12": probabilities[:, 1],
            "AU1_label": labels[:, 0],
            "AU12_label": labels[:, 1],
        }
    )


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_table_with_labels_is_scored_as_scikit_learn_does(table, tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path)
    results = evaluate_predictions(path, tmp_path / "out", dataset="made up")
    assert tuple(results.columns) == RESULT_COLUMNS
    row = results.set_index("au").loc["AU12"]
    assert row["f1"] == pytest.approx(f1_score(table["AU12_label"], table["AU12"] >= 0.5))
    assert row["auroc"] == pytest.approx(roc_auc_score(table["AU12_label"], table["AU12"]))
    assert len(macro_table(results)) == 1
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "out" / "results.parquet"), results, check_dtype=False
    )
    write_report([read_run(tmp_path / "out")], tmp_path / "report.html")


def test_labels_of_their_own_and_validation_rows_and_occlusions(table, tmp_path):
    names = {"AU1_label": "AU1", "AU12_label": "AU12"}
    table[["sample_id", *names]].rename(columns=names).to_parquet(tmp_path / "labels.parquet")
    bare = table.drop(columns=list(names)).assign(split=["validation"] * 60 + ["test"] * 60)
    worse = bare.assign(kind="hands", severity=0.5, AU1=0.5)
    pd.concat([bare, worse]).to_parquet(tmp_path / "mine.parquet")
    results = evaluate_predictions(tmp_path / "mine.parquet", tmp_path / "out", tmp_path / "labels.parquet")
    cells = results.set_index(["kind", "severity", "au"])
    assert cells.loc[("hands", 0.5, "AU1"), "auroc"] == pytest.approx(0.5)
    assert cells.loc[("none", 0.0, "AU12"), "n"] == 60
    assert cells.loc[("none", 0.0, "AU12"), "threshold"] != 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="sample_id"), "lacks the column sample_id"),
        (lambda t: t.drop(columns=["AU1_label", "AU12_label"]), "no AU<n>_label columns"),
        (lambda t: t.drop(columns="AU12"), "no probabilities for AU12"),
        (lambda t: t.assign(AU1=t["AU1"] * 5), "between 0 and 1"),
        (lambda t: t.assign(AU1=np.nan), "between 0 and 1"),
        (lambda t: t.assign(AU1_label=3), "labels must be 1, 0 or -1"),
        (lambda t: t.assign(split="train"), "split must be validation or test"),
        (lambda t: t.assign(severity=50), "severity must be a share"),
        (lambda t: t.assign(method="../../up"), "plain names"),
    ],
)
def test_wrong_tables_are_refused_in_one_line_and_leave_nothing(table, tmp_path, change, message):
    path = tmp_path / "mine.parquet"
    change(table).to_parquet(path)
    with pytest.raises(UserError, match=message) as caught:
        evaluate_predictions(path, tmp_path / "out")
    assert "\n" not in str(caught.value) and "mine.parquet" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_missing_and_unreadable_files_are_user_errors(tmp_path):
    (tmp_path / "broken.parquet").write_bytes(b"not a table")
    for name in ("absent.csv", "table.xlsx", "broken.parquet"):
        with pytest.raises(UserError, match=name):
            evaluate_predictions(tmp_path / name, tmp_path / "out")
