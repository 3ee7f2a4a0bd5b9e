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

    def __init__(self, transform: A.Compose, epoch: int):
        self.transform, self.epoch = transform, epoch

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> bytes:
        return self.transform(image=FACE, sample_id=index, epoch=self.epoch)["image"].tobytes()


def load(transform: A.Compose, workers: int, epoch: int) -> list[bytes]:
    loader = DataLoader(
        Hidden(transform, epoch),
        batch_size=1,
        num_workers=workers,
        collate_fn=list,
        multiprocessing_context="fork" if workers else None,
    )
    return [result for batch in loader for result in batch]


def check_streams(transform: A.Compose) -> None:
    """Fail when two workers hide the same of different samples, or when an epoch repeats the one before."""
    first, second = load(transform, 2, epoch=0), load(transform, 2, epoch=1)
    assert len(set(first)) == len(first), "workers drew the same stream"
    assert not set(first) & set(second), "an epoch repeats the one before"


def test_the_naive_use_falls_into_the_trap():
    naive = A.Compose(
        [A.CoarseDropout(hole_height_range=(0.1, 0.6), hole_width_range=(0.1, 0.6), p=1)], seed=1
    )
    with pytest.raises(AssertionError, match="workers drew the same stream"):
        check_streams(naive)
    assert load(naive, 2, epoch=0) == load(naive, 2, epoch=1), "another epoch, the same holes"


@pytest.mark.parametrize("kind", ["patches", "texture", "hand"])
def test_ours_follows_its_keys_on_any_worker(kind):
    ours = A.Compose([Occlude(kind, (0.3, 0.6), grid=8)], seed=1)
    check_streams(ours)
    alone = [ours(image=FACE, sample_id=n, epoch=0)["image"].tobytes() for n in range(8)]
    assert load(ours, 0, 0) == load(ours, 1, 0) == load(ours, 2, 0) == alone


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
