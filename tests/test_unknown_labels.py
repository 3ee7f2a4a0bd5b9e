"""Labels that are not known: what cannot be learnt is said before training, and no number is made up for it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fixtures_datasets import relabelled
from fixtures_training import fit

from data_modules.errors import UserError
from data_modules.face_data import FaceDataModule
from data_modules.folds import split_rows
from data_modules.stores.store import FaceStore

FauMae = Callable[..., int]


def people(store: FaceStore, split: str) -> np.ndarray:
    """Names of those whom a training of the first fold meets there."""
    data = FaceDataModule(store.path, val_share=0.1)
    return np.unique(store.column("subject")[getattr(data.split, split)])


@pytest.mark.parametrize("stage", ["teacher", "augmented", "dropped"])
def test_nothing_to_learn_is_refused_before_training(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys, no_wandb, stage: str
) -> None:
    """Also where only people that are not trained on have labels."""
    train = people(tiny_store, "train")

    def hide(labels: np.ndarray, subjects: np.ndarray) -> None:
        labels[np.isin(subjects, train)] = -1

    store = relabelled(tiny_store, tmp_path / "store", hide)
    off = [f"--model.init_args.{name}_weight=0" for name in ("node", "edge", "logit")]
    assert fit(fau_mae, stage, store, tmp_path / "out", *(off if stage == "dropped" else [])) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "fold 1" in line and "nothing to learn" in line
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_a_taught_student_needs_no_labels(
    fau_mae: FauMae, tiny_store: FaceStore, teacher: Path, tmp_path: Path, capsys, no_wandb
) -> None:
    def hide(labels: np.ndarray, _: np.ndarray) -> None:
        labels[:] = -1

    store = relabelled(tiny_store, tmp_path / "store", hide)
    assert fit(fau_mae, "student", store, tmp_path / "out", init=teacher) == 0
    said = capsys.readouterr().out
    assert said.count("never labelled") == 1 and "best.ckpt is no better" in said
    assert (tmp_path / "out" / "finished").exists()


def test_aus_that_cannot_be_learnt_are_named_and_scored_as_not_known(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys, no_wandb
) -> None:
    """Nothing is known of the first AU, of the second only test people; the third is never there, the fourth always."""
    test = people(tiny_store, "test")

    def hide(labels: np.ndarray, subjects: np.ndarray) -> None:
        labels[:, 0] = -1
        labels[~np.isin(subjects, test), 1] = -1
        labels[:, 2], labels[:, 3] = 0, 1
        labels[np.isin(subjects, test), 4] = -1

    store = relabelled(tiny_store, tmp_path / "store", hide)
    names = [f"AU{au}" for au in store.info.aus]
    assert fit(fau_mae, "teacher", store, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert (
        f"{names[0]}, {names[1]} never labelled; {names[2]} always absent; {names[3]} always present" in said
    )
    checkpoint = tmp_path / "out" / "checkpoints" / "last.ckpt"
    line = ["evaluate", "--checkpoint", checkpoint, "--data", store.path, "--out", tmp_path / "scores"]
    assert fau_mae(*line, "--kinds", "patches", "--severities", "0.5") == 0
    table = pd.read_parquet(tmp_path / "scores" / "results.parquet")
    undefined = table.groupby("au")["auroc"].apply(lambda values: bool(values.isna().all()))
    for name in (names[0], names[2], names[3], names[4]):
        assert undefined[name], name
    assert not undefined["macro"]


def test_a_fold_without_people_to_test_is_refused(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys, no_wandb
) -> None:
    from dataclasses import replace

    store = relabelled(tiny_store, tmp_path / "store", lambda *_: None)
    everybody = [str(name) for name in np.unique(store.column("subject"))]
    store.info = replace(
        store.info, parts={name: 1 + place % 2 for place, name in enumerate(everybody)} | {"X": 3}
    )
    for fold in (2, 3):
        assert len(split_rows(store, fold, 3, 0.1, 0).test)
    with pytest.raises(UserError, match="part 3, whom fold 1 is tested on"):
        split_rows(store, 1, 3, 0.1, 0)
