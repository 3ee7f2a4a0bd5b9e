"""Occlusion through FaceDataModule: the same masks with any number of workers and ranks; curriculum and targets."""

from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from data_modules.batch import FaceBatch
from data_modules.errors import UserError
from data_modules.face_data import FaceDataModule
from data_modules.occlusion.apply import occlude
from data_modules.occlusion.config import OcclusionConfig
from data_modules.occlusion.spec import OcclusionSpec, token_visibility
from data_modules.stores.store import FaceStore

KINDS = ("patches", "au_targeted", "hand", "other_face")
OCCLUSION = {field.name for field in fields(OcclusionConfig)}


def module(store: FaceStore, rank: int = 0, world_size: int = 1, **settings) -> FaceDataModule:
    """A data module as one of `world_size` processes holds it; the step is 8 faces over all of them."""
    options = {"grid": 4, **settings}
    occlusion = OcclusionConfig(
        **{"kinds": KINDS, "clean_share": 0.0, **{k: options.pop(k) for k in OCCLUSION & set(options)}}
    )
    data = FaceDataModule(store.path, batch_size=8 // world_size, occlusion=occlusion, **options)
    data.trainer = SimpleNamespace(global_rank=rank, world_size=world_size, overfit_batches=0)
    return data


def epoch(data: FaceDataModule, number: int) -> list[FaceBatch]:
    loader = data.train_dataloader()
    loader.batch_sampler.set_epoch(number)
    return list(loader)


@pytest.mark.parametrize("number", [0, 1, 5])
def test_two_ranks_with_two_workers_see_the_pictures_and_masks_of_one_process(
    tiny_store: FaceStore, number: int
) -> None:
    settings = {"curriculum_epochs": 3}
    alone = epoch(module(tiny_store, **settings), number)
    ranks = [
        epoch(module(tiny_store, rank, 2, num_workers=workers, **settings), number)
        for rank, workers in ((0, 2), (1, 1))
    ]
    assert len(alone) == len(ranks[0]) == len(ranks[1]) >= 2
    for whole, *halves in zip(alone, *ranks, strict=True):
        for name in ("sample_id", "visible", "image"):
            assert torch.equal(getattr(whole, name), torch.cat([getattr(half, name) for half in halves]))


def test_the_curriculum_hides_more_from_epoch_to_epoch(tiny_store: FaceStore) -> None:
    data = module(tiny_store, kinds=("patches",), severity_range=(0.25, 1.0), curriculum_epochs=2, grid=8)
    hidden = [max(float((~b.visible).float().mean()) for b in epoch(data, n)) for n in range(12)]
    assert hidden[0] == 0.25, "the first epoch stays at the easiest severity"
    assert hidden[1] <= 0.625 + 1 / 64 < max(hidden[2:])
    without = module(tiny_store, kinds=("patches",), severity_range=(0.25, 1.0), grid=8)
    assert max(float((~b.visible).float().mean()) for b in epoch(without, 0)) > 0.25
    with pytest.raises(UserError, match="curriculum_epochs is -1"):
        module(tiny_store, curriculum_epochs=-1).train_dataloader()


def test_au_targeted_aims_at_the_aus_of_the_store(tiny_store: FaceStore) -> None:
    data, spec = module(tiny_store), OcclusionSpec("au_targeted", 0.25)
    batch = next(iter(data.ladder_dataloader("test", spec)))
    for row, mask, clean in zip(data.split.test, batch.visible.numpy(), batch.clean.numpy()):
        _, pixels = occlude(
            clean.transpose(1, 2, 0),
            spec,
            int(tiny_store.column("sample_id")[row]),
            grid=4,
            landmarks=tiny_store.landmarks(row),
            aus=tiny_store.info.aus,
        )
        np.testing.assert_array_equal(mask, token_visibility(pixels, 4))


def test_saliency_hides_by_the_maps_it_is_given_and_is_refused_without(tiny_store: FaceStore) -> None:
    data = module(tiny_store)
    ids = [int(i) for i in tiny_store.column("sample_id")]
    maps = np.random.default_rng(0).random((len(ids), 4, 4))
    data.saliency = dict(zip(ids, maps))
    batch = next(iter(data.ladder_dataloader("test", OcclusionSpec("saliency", 0.25))))
    for sample_id, visible in zip(batch.sample_id.tolist(), batch.visible.numpy()):
        hidden = set(np.flatnonzero(~visible))  # True = visible
        assert hidden == set(np.argsort(-data.saliency[sample_id].reshape(-1))[:4])
    with pytest.raises(UserError, match="fau-mae evaluate"):
        module(tiny_store, kinds=("saliency",))
