"""The albumentations transform: usable alone, keyed, and free of the forked workers' shared stream."""

import albumentations as A
import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from data_modules.errors import UserError
from data_modules.occlusion.apply import occlude
from data_modules.occlusion.spec import OcclusionSpec
from data_modules.occlusion.transforms import Occlude

FACE = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)


class Hidden(Dataset[bytes]):
    """The same face at every index, through a transform, as the bytes of the result."""

    def __init__(self, transform: A.Compose):
        self.transform = transform

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> bytes:
        return self.transform(image=FACE, sample_id=index)["image"].tobytes()


def load(transform: A.Compose, workers: int) -> list[bytes]:
    loader = DataLoader(
        Hidden(transform), batch_size=1, num_workers=workers, collate_fn=list, multiprocessing_context="fork"
    )
    return [result for batch in loader for result in batch]


def test_the_naive_use_repeats_its_stream_in_each_epoch_and_ours_follows_the_keys():
    naive = A.Compose(
        [A.CoarseDropout(hole_height_range=(0.1, 0.6), hole_width_range=(0.1, 0.6), p=1)], seed=1
    )
    assert load(naive, 2) == load(naive, 2), "the trap: another epoch, the same holes"
    ours = A.Compose([Occlude("patches", 0.5, grid=8)])
    alone = [ours(image=FACE, sample_id=n)["image"].tobytes() for n in range(8)]
    assert load(ours, 2) == alone and len(set(alone)) == 8
    epochs = [ours(image=FACE, sample_id=1, epoch=epoch)["visible"].tobytes() for epoch in range(4)]
    assert len(set(epochs)) == 4


def test_the_protocol_mask_comes_out_beside_the_picture():
    before = FACE.copy()
    result = A.Compose([Occlude("hand", 0.25), A.HorizontalFlip(p=0)])(image=FACE, sample_id=9)
    picture, visible = occlude(FACE, OcclusionSpec("hand", 0.25), 9, grid=14)
    np.testing.assert_array_equal(result["image"], picture)
    np.testing.assert_array_equal(result["visible"], visible)
    np.testing.assert_array_equal(FACE, before)


def test_without_a_sample_id_the_picture_is_the_key():
    transform = A.Compose([Occlude("block", (0.1, 0.9))])
    first, again = transform(image=FACE)["visible"], transform(image=FACE)["visible"]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, transform(image=255 - FACE)["visible"])


def test_wrong_use_is_refused_at_once():
    with pytest.raises(UserError, match="did you mean 'mask'"):
        Occlude("msk")
    with pytest.raises(UserError, match="outside 0-1"):
        Occlude("hand", (0.1, 50))
    with pytest.raises(UserError, match="unknown fill"):
        Occlude("patches", fill="pink")
