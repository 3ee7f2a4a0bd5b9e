"""The walk over the ladder: passes of faces that show as much, pictures decoded once, each face's own answer."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from data_modules.batch import FaceBatch
from data_modules.face_data import FaceDataModule
from data_modules.facs import au_name
from data_modules.occlusion.spec import OcclusionSpec, cell_bounds, token_visibility
from data_modules.stores.store import FaceStore
from fau_mae.evaluation.ladder import walk_ladder
from fau_mae.evaluation.methods import Method

SPECS = [OcclusionSpec("none", 0.0), OcclusionSpec("texture", 0.5), OcclusionSpec("block", 0.25)]


def of_each_face(batch: FaceBatch) -> torch.Tensor:
    """What no other face of the batch can change: its id and what of it is visible."""
    answer = (batch.sample_id % 97).float() / 200 + batch.visible.float().mean(1) / 2  # True = visible
    return answer[:, None].expand(-1, batch.labels.shape[1])


@pytest.mark.parametrize("mask_source", ["oracle", "none"])
def test_each_face_gets_its_own_answer_from_full_passes(
    tiny_store: FaceStore, tmp_path: Path, mask_source: str
) -> None:
    passes: list[torch.Tensor] = []

    def predict(batch: FaceBatch) -> torch.Tensor:
        if len(batch.visible) > 1:  # faces shown as examples come alone
            passes.append(batch.visible.sum(1))
        return of_each_face(batch)

    data = FaceDataModule(tiny_store.path, grid=8, batch_size=3)
    walk_ladder([Method("m", mask_source, Path(), predict)], data, SPECS, tmp_path)
    for spec in SPECS:
        path = tmp_path / "predictions/test" / f"m-{mask_source}" / f"{spec.kind}-{spec.severity:.2f}.parquet"
        table = pd.read_parquet(path)
        assert sorted(table["sample_id"]) == sorted(tiny_store.column("sample_id")[data.split.test])
        expected = (table["sample_id"] % 97) / 200 + (1 - table["hidden"]) / 2
        np.testing.assert_allclose(table[au_name(data.aus[0])], expected, atol=1e-6)
    assert max(len(counts) for counts in passes) == 3
    # What passes of a method that leaves hidden tokens out pay for: the face of which most is visible.
    joined = sum(len(counts) * int(counts.max()) for counts in passes)
    passes.clear()
    for split in ("validation", "test"):
        for spec in SPECS:
            for batch in data.ladder_dataloader(split, spec):
                predict(batch)
    plain = sum(len(counts) * int(counts.max()) for counts in passes)
    assert joined < plain if mask_source == "oracle" else joined == plain


@pytest.mark.parametrize("room", [0, 3 * 40 * 40 * 3, 1 << 28])
def test_pictures_there_is_room_for_are_decoded_once(
    tiny_store: FaceStore, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    data = FaceDataModule(tiny_store.path, grid=8, image_size=40, batch_size=3)
    decode, decoded = FaceStore.image, Counter[int]()

    def counted(store: FaceStore, index: int) -> np.ndarray:
        decoded[int(index)] += 1
        return decode(store, index)

    plain = [list(data.ladder_dataloader("test", spec)) for spec in SPECS]
    monkeypatch.setattr(FaceStore, "image", counted)
    faces = data.dataset(False, room=room)
    shared = [list(data.ladder_dataloader("test", spec, faces)) for spec in SPECS]
    for one, other in zip(plain, shared):
        for batch, same in zip(one, other, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(batch[:4], same[:4]))
    kept = min(len(data.split.test), room // (40 * 40 * 3))
    assert sorted(decoded.values()) == [1] * kept + [len(SPECS)] * (len(data.split.test) - kept)


@pytest.mark.parametrize(("height", "width", "grid"), [(96, 96, 8), (50, 37, 7), (224, 224, 14), (9, 9, 4)])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_token_is_visible_when_at_most_half_of_its_area_is_hidden(
    height: int, width: int, grid: int, share: float
) -> None:
    pixels = np.random.default_rng(0).random((height, width)) < share
    pixels[: height // 2, : width // 4] = False
    rows, cols = cell_bounds(height, grid), cell_bounds(width, grid)
    expected = [
        (~pixels[top:bottom, left:right]).mean() <= 0.5
        for top, bottom in pairwise(rows)
        for left, right in pairwise(cols)
    ]
    assert token_visibility(pixels, grid).tolist() == expected
    assert token_visibility(np.asfortranarray(pixels), grid).tolist() == expected
