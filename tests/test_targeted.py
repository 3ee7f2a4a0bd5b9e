"""Occlusions that aim: gradient saliency of a model, at equal area on the same faces, through the command line."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TINY

from data_modules.face_data import FaceDataModule
from data_modules.occlusion.spec import OcclusionSpec
from data_modules.stores.store import FaceStore
from fau_mae.evaluation.saliency import saliency_maps

DEVICE = torch.device("cpu")


def eye_reader(batch) -> torch.Tensor:
    """A model of one AU that looks at the token in row 1, column 2 of a 4 x 4 grid and nowhere else."""
    side = batch.image.shape[2] // 4
    patch = batch.image[:, :, side : 2 * side, 2 * side : 3 * side].float()
    return (patch.mean((1, 2, 3)) / 255 - 0.2).sigmoid()[:, None]


def test_saliency_is_where_the_model_looks(tiny_store: FaceStore, tmp_path) -> None:
    data = FaceDataModule(tiny_store.path, grid=4, batch_size=5)
    path = tmp_path / "saliency.npz"
    maps = saliency_maps(eye_reader, "eye", data, "test", path, DEVICE)
    assert set(maps) == set(tiny_store.column("sample_id")[data.split.test].tolist())
    for saliency in maps.values():
        assert saliency.shape == (4, 4) and saliency.argmax() == 6 and (saliency > 0).sum() == 1
    data.saliency = maps
    for batch in data.ladder_dataloader("test", OcclusionSpec("saliency", 1 / 16)):
        assert (~batch.visible[:, 6]).all() and (~batch.visible).sum() == len(batch.visible)  # True = visible

    def unasked(batch) -> torch.Tensor:
        raise AssertionError("maps that are kept are not made again")

    again = saliency_maps(unasked, "other", data, "test", path, DEVICE)
    assert all(np.array_equal(again[key], maps[key]) for key in maps)
    with np.load(path) as kept:
        assert str(kept["made_by"]) == "eye"


@pytest.fixture
def teacher(tiny_store: FaceStore, tmp_path, fau_mae):
    out = tmp_path / "fold1-seed0" / "teacher"
    config = "quickstart/teacher"
    line = ["fit", "--config", config, "--out", out, "--data.store", tiny_store.path]
    assert fau_mae(*line, "--model.init_args.init_from=null", *TINY) == 0
    return out


def test_evaluate_tests_aimed_kinds_at_equal_area(tiny_store: FaceStore, tmp_path, fau_mae, teacher) -> None:
    out = tmp_path / "tested"
    kinds = ["patches", "au_targeted", "saliency"]
    line = ["evaluate", "--checkpoint", teacher / "checkpoints" / "last.ckpt", "--data", tiny_store.path]
    assert fau_mae(*line, "--out", out, "--kinds", *kinds, "--severities", 0.25, 0.5) == 0
    folder = out / "predictions" / "test" / "teacher-none"
    for severity in ("0.25", "0.50"):
        tables = [pd.read_parquet(folder / f"{kind}-{severity}.parquet") for kind in kinds]
        for table in tables[1:]:
            pd.testing.assert_frame_equal(table[["sample_id", "hidden"]], tables[0][["sample_id", "hidden"]])
        assert (tables[0]["hidden"] == float(severity)).all()
        assert not np.allclose(tables[0].filter(like="AU"), tables[2].filter(like="AU"))
    results = pd.read_parquet(out / "results.parquet")
    assert set(results["kind"]) == {"none", *kinds}
    examples = pd.read_parquet(out / "predictions" / "test" / "examples.parquet")
    assert examples["reconstruction"].isna().all()  # no method here fills anything in
