"""FaceDataModule: the same batches with any number of workers, and folds that share no subject."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from data_modules.errors import UserError
from data_modules.face_data import FaceDataModule, fitting_grid
from data_modules.faces.augmentation import FaceAugmentation
from data_modules.folds import split_rows
from data_modules.occlusion.config import OcclusionConfig
from data_modules.occlusion.spec import OcclusionSpec
from data_modules.stores.store import FaceStore


def module(source: FaceStore, **settings) -> FaceDataModule:
    occlusion = OcclusionConfig(kinds=("patches", "block"))
    return FaceDataModule(
        **{"store": source.path, "grid": 4, "batch_size": 4, "occlusion": occlusion, **settings}
    )


def test_a_store_alone_is_enough(tiny_store: FaceStore) -> None:
    data = FaceDataModule(tiny_store.path)
    assert (data.grid, data.image_size) == (6, 48) == (data.faces.grid, data.faces.image_size)
    batch = next(iter(data.test_dataloader()))
    assert batch.visible.shape[1] == 36 and data.faces.preset == "canonical"


@pytest.mark.parametrize(("size", "grid"), [(224, 14), (112, 14), (96, 12), (200, 10), (48, 6), (100, 10)])
def test_the_grid_that_is_not_given_fits_the_size(size: int, grid: int) -> None:
    assert fitting_grid(size) == grid


def test_a_size_without_a_grid_is_refused() -> None:
    with pytest.raises(UserError, match=r"data\.image_size"):
        fitting_grid(97)


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
    data = module(tiny_store, occlusion=OcclusionConfig(fill="grey"))
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
        ({"store": Path("nowhere")}, "not a store"),
    ],
)
def test_wrong_settings_end_in_one_clear_line(tiny_store: FaceStore, settings: dict, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        module(tiny_store, **settings)
    assert "\n" not in str(error.value)


OUTLINES = {  # which of the 68 points each landmark set holds
    5: [36, 45, 30, 48, 54],
    68: [*range(68)],
    66: [i for i in range(68) if i not in (60, 64)],
    51: [*range(17, 68)],
    49: [i for i in range(17, 68) if i not in (60, 64)],
}


@pytest.mark.parametrize("points", OUTLINES)
def test_mirrored_landmarks_keep_their_sides(tiny_store: FaceStore, points: int) -> None:
    """However a face is mirrored, each point stays on its side: the outline moves by little, as a whole."""
    row = int(np.argmin([abs(np.ptp(tiny_store.landmarks(i)[[36, 45], 1])) for i in range(len(tiny_store))]))
    landmarks = tiny_store.landmarks(row)[OUTLINES[points]]
    moved = [FaceAugmentation()(tiny_store.image(row), landmarks, 1, key)[1] for key in range(12)]
    for outline in moved:
        for axis in (0, 1):
            assert np.corrcoef(outline[:, axis], landmarks[:, axis])[0, 1] > 0.8


def test_landmarks_move_with_the_picture(tiny_store: FaceStore) -> None:
    """A white spot on black is where the augmented landmark says it is."""
    for key in range(20):
        picture = np.zeros((96, 96, 3), np.uint8)
        picture[60:63, 30:33] = 255
        spot = np.array([[31.0, 61.0]])
        image, landmarks = FaceAugmentation()(picture, spot, 3, key)
        light = image.max(2).astype(float)
        light[light < light.max() / 2] = 0  # colour lifts the black a little
        found = [(light.sum(axis) * np.arange(96)).sum() / light.sum() for axis in (0, 1)]
        np.testing.assert_allclose(found, landmarks[0], atol=0.5)


def test_colour_changes_and_grey_stays_grey() -> None:
    grey = np.full((32, 32, 3), 120, np.uint8)
    levels = set()
    for key in range(20):
        image, _ = FaceAugmentation(rotation=0, scale=0, shift=0)(grey, None, 0, key)
        assert np.ptp(image.astype(int)) <= 1  # hue and saturation leave grey alone; contrast its mean
        levels.add(int(image[0, 0, 0]))
    assert len(levels) > 10 and min(levels) >= 85 and max(levels) <= 155
    red = np.full((32, 32, 3), (180, 60, 60), np.uint8)
    tints = {tuple(FaceAugmentation()(red, None, 0, key)[0][16, 16].tolist()) for key in range(20)}
    assert len(tints) > 10


def test_a_batch_is_its_single_faces(tiny_store: FaceStore) -> None:
    dataset = module(tiny_store, occlusion=OcclusionConfig(fill="donor")).dataset(augment=True)
    for spec in (
        OcclusionSpec("none", 0.0, 1),
        OcclusionSpec("block", 0.4, 1),
        OcclusionSpec("mask", 0.3, 1),
    ):
        batch = dataset.__getitems__([(row, spec) for row in (3, 0, 7)])
        assert (batch.image is batch.clean) == (spec.severity == 0)
        for place, row in enumerate((3, 0, 7)):
            for whole, one in zip(batch, dataset[row, spec]):
                assert torch.equal(whole[place], one)
        assert torch.equal(batch.labels, torch.from_numpy(tiny_store.column("labels")[[3, 0, 7]]))


def test_without_augmentation_a_face_is_the_stored_picture(tiny_store: FaceStore) -> None:
    face = module(tiny_store).dataset(augment=False)[5, OcclusionSpec("none", 0.0)]
    np.testing.assert_array_equal(face.clean.permute(1, 2, 0), tiny_store.image(5))
    assert face.visible.all()  # True = visible
