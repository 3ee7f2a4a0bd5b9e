"""`data.cameras`: another camera's picture of the same face, drawn anew each epoch, the same for any worker."""

import numpy as np
import torch

from data_modules.face_data import FaceDataModule
from data_modules.faces.camera import Camera
from data_modules.occlusion.config import OcclusionConfig
from data_modules.stores.store import FaceStore


def grey_levels() -> np.ndarray:
    """(64, 64, 3): every fourth level of grey, a column each."""
    return np.broadcast_to(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], (64, 64, 3)).copy()


def test_light_keeps_its_order_and_most_of_its_range() -> None:
    """A mean level over columns never falls by more than noise and packing do, whatever the camera."""
    for seed in range(200):
        seen = Camera()(grey_levels(), seed, 0)
        assert seen.shape == (64, 64, 3) and seen.dtype == np.uint8
        eighths = seen.mean((0, 2)).reshape(8, 8).mean(1)
        assert (np.diff(eighths) > 0).all() and eighths[-1] - eighths[0] > 100


def test_every_change_occurs_and_none_always() -> None:
    face = np.full((96, 96, 3), (200, 140, 110), np.uint8)
    face[:, 48:] = (60, 40, 30)
    seen = np.stack([Camera()(face, seed, 5) for seed in range(400)])  # (400, 96, 96, 3)
    colourless = (np.ptp(seen, axis=-1).mean((1, 2)) < 3).mean()
    grainy = (seen[:, :, :4].std((1, 2)).mean(-1) > 1).mean()
    soft = (
        np.abs(np.diff(seen[:, :, 46:50].mean((1, 3)), axis=1)).max(1)
        < 0.85 * np.ptp(seen.mean((1, 3)), axis=1)
    ).mean()
    assert 0.06 < colourless < 0.25 and 0.25 < grainy < 0.75 and 0.25 < soft < 0.6
    assert len(np.unique(seen.reshape(400, -1), axis=0)) == 400


def batches(store: FaceStore, epoch: int = 0, **settings) -> list[torch.Tensor]:
    data = FaceDataModule(
        store.path,
        batch_size=4,
        grid=4,
        num_folds=3,
        occlusion=OcclusionConfig(kinds=("patches",)),
        **settings,
    )
    loader = data.train_dataloader()
    loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
    return [batch.clean for batch in loader]


def test_workers_make_no_difference_and_epochs_do(tiny_store: FaceStore) -> None:
    plain, with_cameras = batches(tiny_store), batches(tiny_store, cameras=True)
    assert not any(torch.equal(a, b) for a, b in zip(plain, with_cameras, strict=True))
    again = batches(tiny_store, cameras=True, num_workers=2)
    assert all(torch.equal(a, b) for a, b in zip(with_cameras, again, strict=True))
    assert not torch.equal(with_cameras[0], batches(tiny_store, epoch=1, cameras=True)[0])


def test_validation_faces_and_all_without_augmentation_stay_as_stored(tiny_store: FaceStore) -> None:
    changes = {"batch_size": 4, "grid": 4, "num_folds": 3}
    plain, wide = (
        FaceDataModule(tiny_store.path, **changes),
        FaceDataModule(tiny_store.path, cameras=True, **changes),
    )
    for ours, theirs in zip(plain.val_dataloader(), wide.val_dataloader(), strict=True):
        assert torch.equal(ours.clean, theirs.clean)
    bare, bare_wide = (batches(tiny_store, augment=False, cameras=cameras) for cameras in (False, True))
    assert all(torch.equal(a, b) for a, b in zip(bare, bare_wide, strict=True))
