"""Stores and models of different AUs: some of a store's take part, and a model is tested on those that both know."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures_training import fit

from data_modules.errors import UserError
from data_modules.face_data import FaceDataModule
from data_modules.files import read_parquet, read_yaml
from data_modules.stores.store import FaceStore
from fau_mae.cli import main
from fau_mae.weights.checkpoints import read_own

FauMae = Callable[..., int]
pytestmark = pytest.mark.usefixtures("no_wandb")
SOME = (12, 4, 25)


@pytest.fixture(scope="module")
def of_three(tiny_store: FaceStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher trained on three of the store's AUs, in an order of its own."""
    out = tmp_path_factory.mktemp("three") / "teacher"
    assert (
        fit(lambda *a: main([str(x) for x in a]), "teacher", tiny_store, out, f"--data.aus={list(SOME)}") == 0
    )
    return out / "checkpoints" / "last.ckpt"


def test_some_aus_take_part_in_the_order_given(tiny_store: FaceStore) -> None:
    whole = FaceDataModule(tiny_store.path, num_folds=3, grid=4, batch_size=4)
    some = FaceDataModule(tiny_store.path, num_folds=3, grid=4, batch_size=4, aus=SOME)
    columns = [whole.aus.index(au) for au in SOME]
    assert some.aus == SOME and some.faces.regions == tuple(whole.faces.regions[c] for c in columns)
    assert torch.equal(some.prevalence(), whole.prevalence()[columns])
    for ours, theirs in zip(some.test_dataloader(), whole.test_dataloader(), strict=True):
        assert torch.equal(ours.labels, theirs.labels[:, columns])
        torch.testing.assert_close(ours.intensity, theirs.intensity[:, columns], equal_nan=True)
        assert torch.equal(ours.image, theirs.image) and torch.equal(ours.visible, theirs.visible)


@pytest.mark.parametrize(
    ("aus", "words"), [((12, 99), "has no AU99, only AU1"), ((12, 4, 12), "names AU12 twice")]
)
def test_aus_that_are_not_there_are_one_line(tiny_store: FaceStore, aus: tuple[int, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        FaceDataModule(tiny_store.path, num_folds=3, grid=4, aus=aus)


def test_a_model_is_tested_on_the_aus_that_it_and_the_store_share(
    fau_mae: FauMae, of_three: Path, teacher: Path, tiny_store: FaceStore, tmp_path: Path, capsys
) -> None:
    """The larger store's other AUs are named and left out; a smaller store asks a larger model for its own alone."""
    about, _ = read_own(of_three)
    assert about.aus == SOME and len(about.data["prevalence"]) == 3
    line = ["--data", tiny_store.path, "--kinds", "patches", "--severities", "0.5"]
    assert fau_mae("evaluate", "--checkpoint", of_three, *line, "--out", tmp_path / "e") == 0
    said = capsys.readouterr().err
    assert "AU1, AU2" in said and "left out, which" in said and "AU12" not in said
    results = read_parquet(tmp_path / "e" / "results.parquet")
    assert list(dict.fromkeys(results["au"])) == ["AU4", "AU12", "AU25", "macro"]
    cells = read_parquet(next((tmp_path / "e/predictions/test").glob("*/patches-0.50.parquet")))
    assert [column for column in cells if column.startswith("AU")] == ["AU4", "AU12", "AU25"]
    assert fau_mae("report", tmp_path / "e", "--out", tmp_path / "e.html") == 0
    assert fau_mae("evaluate", "--checkpoint", teacher, *line, "--out", tmp_path / "all") == 0
    assert "left out, which" not in capsys.readouterr().err


def test_labels_of_the_shared_aus_are_the_stores(
    fau_mae: FauMae, of_three: Path, tiny_store: FaceStore, tmp_path: Path
) -> None:
    line = ["--data", tiny_store.path, "--kinds", "patches", "--severities", "0.5", "--out", tmp_path / "e"]
    assert fau_mae("evaluate", "--checkpoint", of_three, *line) == 0
    labels = read_parquet(tmp_path / "e/predictions/test/labels.parquet").set_index("sample_id")
    row = {int(i): n for n, i in enumerate(tiny_store.column("sample_id"))}
    known = tiny_store.column("labels")[[row[int(i)] for i in labels.index]]
    for au in SOME:
        np.testing.assert_array_equal(labels[f"AU{au}"], known[:, tiny_store.info.aus.index(au)])


def test_no_shared_au_is_one_line(
    fau_mae: FauMae, of_three: Path, tiny_store: FaceStore, tmp_path: Path, capsys
) -> None:
    whole = torch.load(of_three, weights_only=True)
    about, _ = read_own(of_three)
    whole["fau_mae"] = replace(about, aus=(97, 98, 99)).to_dict()
    torch.save(whole, tmp_path / "other.ckpt")
    line = [
        "evaluate",
        "--checkpoint",
        tmp_path / "other.ckpt",
        "--data",
        tiny_store.path,
        "--out",
        tmp_path / "e",
    ]
    assert fau_mae(*line) == 2
    assert "does not know AU1" in capsys.readouterr().err and not (tmp_path / "e").exists()
    assert read_yaml(of_three.parent.parent / "config.yaml")["data"]["aus"] == list(SOME)
