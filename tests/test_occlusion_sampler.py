"""Batches of one occlusion: the same draw everywhere, exact resume, nothing lost or seen twice."""

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from data_modules.errors import UserError
from data_modules.occlusion.apply import occlude
from data_modules.occlusion.sampler import LadderSampler, SampleKey, SeverityBatchSampler
from data_modules.occlusion.spec import OcclusionSpec

FACES = 50


class Masks(Dataset[np.ndarray]):
    """Sample key -> the mask of a grey face, as a data set that occludes would make it."""

    def __getitem__(self, key: SampleKey) -> np.ndarray:
        index, spec = key
        return occlude(np.full((32, 32, 3), 90, np.uint8), spec, sample_id=1000 + index, grid=8)[1]

    def __len__(self) -> int:
        return FACES


def batches(**options) -> SeverityBatchSampler:
    return SeverityBatchSampler(np.arange(FACES), 4, kinds=("patches", "block", "upper"), seed=3, **options)


@pytest.mark.parametrize("workers", [1, 2])
def test_masks_do_not_depend_on_the_number_of_workers(workers):
    def load(number: int) -> list[np.ndarray]:
        loader = DataLoader(Masks(), batch_sampler=batches(), num_workers=number, collate_fn=np.stack)
        return list(loader)

    for alone, worked in zip(load(0), load(workers), strict=True):
        np.testing.assert_array_equal(alone, worked)


def test_ranks_share_each_draw_and_split_the_faces():
    ranks = [list(batches(rank=rank, world_size=2)) for rank in range(2)]
    assert len(ranks[0]) == len(ranks[1]) == FACES // 8
    for left, right in zip(*ranks, strict=True):
        assert len({spec for _, spec in left + right}) == 1
    seen = [index for rank in ranks for batch in rank for index, _ in batch]
    assert len(seen) == len(set(seen)) == 48


def test_two_ranks_see_the_steps_of_one_process_with_the_doubled_batch():
    alone = list(SeverityBatchSampler(np.arange(FACES), 8, kinds=("patches", "block", "upper"), seed=3))
    ranks = [list(batches(rank=rank, world_size=2)) for rank in range(2)]
    assert alone == [left + right for left, right in zip(*ranks, strict=True)]


def test_an_epoch_can_be_entered_at_any_step():
    whole = batches()
    whole.set_epoch(2)
    resumed = batches()
    resumed.resume_at(2, 5)
    resumed.set_epoch(2)  # as Lightning does before the first batch
    assert list(resumed) == list(whole)[5:]
    resumed.set_epoch(3)
    assert len(list(resumed)) == len(resumed)


def test_epochs_and_seeds_differ():
    first, second = batches(), batches()
    second.set_epoch(1)
    assert list(first) == list(first)
    assert [index for batch in first for index, _ in batch] != [
        index for batch in second for index, _ in batch
    ]
    assert {spec.seed for batch in first for _, spec in batch}.isdisjoint(
        spec.seed for batch in second for _, spec in batch
    )
    assert all(spec.seed != 0 for batch in first for _, spec in batch), "seed 0 is for evaluation alone"


def test_draws_cover_kinds_and_severities_and_the_clean_share():
    sampler = SeverityBatchSampler(np.arange(8000), 2, kinds=("patches", "lower"), clean_share=0.25)
    specs = [sampler.spec(step) for step in range(4000)]
    clean = [spec for spec in specs if spec.kind == "none"]
    assert len(clean) / len(specs) == pytest.approx(0.25, abs=0.03)
    for kind in ("patches", "lower"):
        drawn = [spec.severity for spec in specs if spec.kind == kind]
        shares, _ = np.histogram(drawn, 4, (0.1, 0.9))
        np.testing.assert_allclose(shares / len(drawn), 0.25, atol=0.05)


def test_severity_range_and_curriculum():
    sampler = SeverityBatchSampler(
        np.arange(2000), 2, severity_range=(0.1, 0.9), clean_share=0.0, curriculum_epochs=4
    )
    hardest = []
    for epoch in (0, 2, 4, 9):
        sampler.set_epoch(epoch)
        hardest.append(max(sampler.spec(step).severity for step in range(len(sampler))))
    np.testing.assert_allclose(hardest, [0.1, 0.5, 0.9, 0.9], atol=0.01)


@pytest.mark.parametrize("count, world_size", [(10, 1), (10, 3), (2, 4)])
def test_ladder_covers_every_face_with_equal_steps(count, world_size):
    spec = OcclusionSpec("patches", 0.5)
    indices = np.arange(count) * 7
    ranks = [
        list(LadderSampler(indices, 2, spec, rank=rank, world_size=world_size)) for rank in range(world_size)
    ]
    assert len({len(rank) for rank in ranks}) == 1
    keys = [key for rank in ranks for batch in rank for key in batch]
    assert {index for index, _ in keys} == set(indices.tolist())
    assert {used for _, used in keys} == {spec}
    assert len(keys) - count < world_size


def test_user_errors_name_what_is_wrong():
    with pytest.raises(UserError, match="lower the batch size"):
        SeverityBatchSampler(np.arange(3), 4)
    with pytest.raises(UserError, match="did you mean 'patches'"):
        SeverityBatchSampler(np.arange(8), 4, kinds=("patchs",))
    with pytest.raises(UserError, match="outside 0-1"):
        LadderSampler(np.arange(8), 4, OcclusionSpec("block", 50))
