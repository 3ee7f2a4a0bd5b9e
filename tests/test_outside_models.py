"""Models that are not ours on our ladder: `occlude STORE`, then `evaluate-predictions`, beside our own rows."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_modules.face_data import FaceDataModule
from data_modules.faces.pictures import read_picture
from data_modules.occlusion.spec import OcclusionSpec, token_visibility
from data_modules.stores.store import FaceStore
from fau_mae.inference.predictor import load

FauMae = Callable[..., int]
pytestmark = pytest.mark.usefixtures("no_wandb")
LADDER = ["--kind", "patches", "hand", "--severity", 0.25, 0.5]


def occluded(fau_mae: FauMae, store: FaceStore, out: Path, *more: object) -> pd.DataFrame:
    assert fau_mae("occlude", store.path, *LADDER, "--num-folds", 3, "--grid", 4, "--out", out, *more) == 0
    return pd.read_csv(out / "manifest.csv")


def test_faces_and_masks_are_those_that_our_methods_meet(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path
) -> None:
    manifest = occluded(fau_mae, tiny_store, tmp_path / "o")
    data = FaceDataModule(tiny_store.path, num_folds=3, grid=4, batch_size=8)
    cells = manifest.groupby(["split", "kind", "severity"], sort=False)
    assert len(cells) == 2 * (1 + 2 * 2)
    for (split, kind, severity), rows in cells:
        batches = list(data.ladder_dataloader(split, OcclusionSpec(kind, severity)))
        found = {
            int(key): (image, visible)
            for batch in batches
            for key, image, visible in zip(batch.sample_id, batch.image, batch.visible)
        }
        assert sorted(found) == sorted(rows["sample_id"])
        for row in rows.itertuples():
            image, visible = found[row.sample_id]
            np.testing.assert_array_equal(
                read_picture(tmp_path / "o" / row.picture), image.permute(1, 2, 0).numpy()
            )
            mask = read_picture(tmp_path / "o" / row.mask)[..., 0] == 255
            np.testing.assert_array_equal(token_visibility(mask, 4), visible.numpy())
            assert row.hidden == pytest.approx(1 - mask.mean(), abs=1e-5)


def test_a_model_read_from_its_files_gets_the_figures_that_it_gets_from_us(
    fau_mae: FauMae, teacher: Path, tiny_store: FaceStore, tmp_path: Path, capsys
) -> None:
    """Our own teacher, taken for another's model: every figure is that of `evaluate`; both stand in one report."""
    manifest = occluded(fau_mae, tiny_store, tmp_path / "o")
    model = load(teacher)
    pictures = np.stack([read_picture(tmp_path / "o" / name) for name in manifest["picture"]])
    said = model.predict(pictures)
    table = pd.concat([manifest[["sample_id", "kind", "severity", "hidden"]], said], axis=1)
    table.to_csv(tmp_path / "theirs.csv", index=False)
    line = ["evaluate-predictions", tmp_path / "theirs.csv", "--labels", tmp_path / "o/labels.csv"]
    assert fau_mae(*line, "--method", "theirs", "--out", tmp_path / "theirs") == 0
    more = ["--kinds", "patches", "hand", "--severities", 0.25, 0.5, "--fold", 1, "--num-folds", 3]
    ours = ["evaluate", "--checkpoint", teacher, "--data", tiny_store.path, *more, "--out", tmp_path / "ours"]
    assert fau_mae(*ours) == 0
    keys = ["kind", "severity", "au"]
    figures = ["auroc", "f1", "threshold", "ap"]
    tables = [pd.read_parquet(tmp_path / name / "results.parquet") for name in ("theirs", "ours")]
    assert set(tables[0]["method"]) == {"theirs"}
    figures = [name for name in figures if name in tables[0]]
    one, other = (each.set_index(keys).sort_index()[figures] for each in tables)
    assert len(figures) >= 2 and one["auroc"].notna().any()
    pd.testing.assert_frame_equal(one, other, atol=1e-3, rtol=0)
    assert fau_mae("report", tmp_path / "theirs", tmp_path / "ours", "--out", tmp_path / "both.html") == 0


def test_one_split_and_what_is_refused(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys
) -> None:
    manifest = occluded(fau_mae, tiny_store, tmp_path / "o", "--split", "test")
    labels = pd.read_csv(tmp_path / "o/labels.csv")
    assert set(manifest["split"]) == set(labels["split"]) == {"test"}
    data = FaceDataModule(tiny_store.path, num_folds=3, grid=4)
    wanted = data.known("labels")[data.split.test]
    np.testing.assert_array_equal(labels[[f"AU{au}" for au in data.aus]].to_numpy(), wanted)
    refused = [
        (["--out", tmp_path / "o"], "exists already"),
        (["--out", tmp_path / "a", "--kind", "fog"], "fog"),
        (["--out", tmp_path / "a", "--fold", 9], "fold"),
        (["--out", tmp_path / "a", "--seed", 5], "is a store"),
        (["--out", tiny_store.path / "in"], "within"),
    ]
    for more, words in refused:
        assert fau_mae("occlude", tiny_store.path, *more) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
        assert words in line and not (tmp_path / "a").exists()
