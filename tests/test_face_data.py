"""FaceDataModule: the same batches with any number of workers, and folds that share no subject."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from data_modules.augment import FaceAugmentation
from data_modules.errors import UserError
from data_modules.face_data import FaceDataModule
from data_modules.folds import split_rows
from data_modules.occlusion.spec import OcclusionSpec
from data_modules.store import FaceStore


def module(source: FaceStore, **settings) -> FaceDataModule:
    return FaceDataModule(
        **{"store": source.path, "grid": 4, "batch_size": 4, "kinds": ("patches", "block"), **settings}
    )


def test_batches_do_not_depend_on_the_number_of_workers(tiny_store: FaceStore) -> None:
    runs = [list(module(tiny_store, num_workers=workers).train_dataloader()) for workers in (0, 1, 2)]
    assert len(runs[0]) > 2
    for batches in runs[1:]:
        for mine, same in zip(runs[0], batches, strict=True):
            assert all(torch.equal(a, b) or a.is_floating_point() for a, b in zip(mine, same))


def test_an_epoch_differs_from_the_next_and_repeats_itself(tiny_store: FaceStore) -> None:
    def epoch(number: int) -> torch.Tensor:
        loader = module(tiny_store).train_dataloader()
        loader.batch_sampler.set_epoch(number)
        return next(iter(loader)).image

    assert torch.equal(epoch(0), epoch(0))
    assert not torch.equal(epoch(0), epoch(1))


def test_the_mask_says_what_is_hidden(tiny_store: FaceStore) -> None:
    data = module(tiny_store, fill="grey")
    batch = next(iter(data.ladder_dataloader("test", OcclusionSpec("patches", 0.5))))
    assert batch.visible.shape == (4, 16) and (batch.visible.sum(1) == 8).all()
    changed = (batch.image != batch.clean).any(1).reshape(4, 4, 12, 4, 12).any(4).any(2).reshape(4, 16)
    assert torch.equal(changed, ~batch.visible)  # True = visible


def test_ladder_sees_every_face_once(tiny_store: FaceStore) -> None:
    data = module(tiny_store, batch_size=5)
    seen = torch.cat([b.sample_id for b in data.ladder_dataloader("test", OcclusionSpec("none", 0.0))])
    assert sorted(seen.tolist()) == sorted(tiny_store.column("sample_id")[data.split.test].tolist())


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_no_subject_is_in_two_splits(tiny_store: FaceStore, fold: int) -> None:
    split = split_rows(tiny_store, fold, num_folds=3, val_share=0.2, seed=0)
    subjects = [set(tiny_store.column("subject")[rows]) for rows in split]
    assert all(subjects) and len(set.union(*subjects)) == sum(map(len, subjects)) == 9


def test_test_folds_cover_every_face_once(tiny_store: FaceStore) -> None:
    rows = np.concatenate([split_rows(tiny_store, fold, 3, 0.2, 0).test for fold in (1, 2, 3)])
    assert sorted(rows) == list(range(len(tiny_store)))


def test_published_parts_are_used(tiny_store: FaceStore) -> None:
    subjects = sorted(set(tiny_store.column("subject")))
    parts = {subject: 1 + i % 3 for i, subject in enumerate(subjects)}
    tiny_store.info, before = dataclasses.replace(tiny_store.info, parts=parts), tiny_store.info
    try:
        split = split_rows(tiny_store, 1, num_folds=99, val_share=0.2, seed=0)
        assert {parts[s] for s in tiny_store.column("subject")[split.test]} == {3}
    finally:
        tiny_store.info = before


def test_prevalence_leaves_unknown_labels_out(tiny_store: FaceStore) -> None:
    data = module(tiny_store)
    labels = tiny_store.column("labels")[data.split.train].astype(float)
    np.testing.assert_allclose(data.prevalence().numpy(), labels.mean(0), rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"fold": 4}, "fold 4 does not exist"),
        ({"num_folds": 40}, "too few for 40 folds"),
        ({"grid": 7}, "not a multiple"),
        ({"kinds": ("patchs",)}, "patches"),
        ({"store": Path("nowhere")}, "not a store"),
    ],
)
def test_wrong_settings_end_in_one_clear_line(tiny_store: FaceStore, settings: dict, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        module(tiny_store, **settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("points", [5, 68])
def test_mirrored_landmarks_keep_their_sides(tiny_store: FaceStore, points: int) -> None:
    """However a face is mirrored, the viewer's left eye stays the one on the left."""
    row = int(np.argmin([abs(np.ptp(tiny_store.landmarks(i)[[36, 45], 1])) for i in range(len(tiny_store))]))
    landmarks = tiny_store.landmarks(row)
    left, right = (36, 45) if points == 68 else (0, 1)
    chosen = landmarks if points == 68 else landmarks[[36, 45, 30, 48, 54]]
    moved = [FaceAugmentation()(tiny_store.image(row), chosen, 1, key) for key in range(12)]
    assert all(out[1][left, 0] < out[1][right, 0] for out in moved)
