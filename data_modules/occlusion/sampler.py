"""Batches of one occlusion: every face of a step gets the same kind and severity, on every rank.

Equal severity means equal visible token counts, so batches need no padding and ranks stay in step. Every draw
is a pure function of (seed, epoch, step): an epoch can be entered at any step without being replayed.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from data_modules.errors import UserError
from data_modules.occlusion.apply import check_spec
from data_modules.occlusion.spec import OcclusionSpec, training_seed
from data_modules.streams import keyed_generator

SampleKey = tuple[int, OcclusionSpec]  # what a dataset's __getitem__ receives


class SeverityBatchSampler(Sampler[list[SampleKey]]):
    """Training batches: shuffled, sharded over ranks, one occlusion per step. A torch `batch_sampler`.

    Severities come evenly from `severity_range` (low, high).
    A step is left clean with probability `clean_share`. With `curriculum_epochs` E > 0 the hardest severity
    grows linearly from the easiest over the first E epochs. `batch_size` counts faces per rank; faces that do
    not fill a step on all ranks are left out of this epoch (`drop_last`), so no face is seen twice. With `same_faces`
    all epochs have the order of the first, as overfitting on a few steps wants it.
    Raises `UserError` for unknown kinds, severities outside 0-1, a negative curriculum, and fewer faces than one
    step needs.
    """

    def __init__(
        self,
        indices: Sequence[int] | np.ndarray,
        batch_size: int,
        *,
        kinds: Sequence[str] = ("patches", "block"),
        severity_range: tuple[float, float] = (0.1, 0.9),
        clean_share: float = 0.1,
        curriculum_epochs: int = 0,
        seed: int = 0,
        same_faces: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ):
        self.same_faces = same_faces
        self.indices = np.asarray(indices, np.int64)
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        self.kinds, self.severity_range = tuple(kinds), severity_range
        self.clean_share, self.curriculum_epochs, self.seed = clean_share, curriculum_epochs, seed
        self.epoch, self._entry = 0, (0, 0)
        for kind in self.kinds:
            for severity in severity_range:
                check_spec(OcclusionSpec(kind, severity))
        if curriculum_epochs < 0:
            raise UserError(f"curriculum_epochs {curriculum_epochs}: give 0 (no curriculum) or more epochs")
        if not len(self):
            raise UserError(
                f"{len(self.indices)} faces do not fill one training step of {batch_size} faces "
                f"on {world_size} process(es): lower the batch size"
            )

    @property
    def sampler(self) -> "SeverityBatchSampler":
        """Lightning looks here for the object whose `set_epoch` it calls before each epoch."""
        return self

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def resume_at(self, epoch: int, step: int) -> None:
        """Go on inside an interrupted epoch: `epoch` starts at `step`, later epochs at 0."""
        self.epoch, self._entry = epoch, (epoch, step)

    def __len__(self) -> int:
        """Steps of a whole epoch, on each rank."""
        return len(self.indices) // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        order = keyed_generator("shuffle", self.seed, 0 if self.same_faces else self.epoch).permutation(
            self.indices
        )
        per_step = self.batch_size * self.world_size
        entry_epoch, entry_step = self._entry
        for step in range(entry_step if self.epoch == entry_epoch else 0, len(self)):
            spec = self.spec(step)
            start = step * per_step + self.rank * self.batch_size
            yield [(int(index), spec) for index in order[start : start + self.batch_size]]

    def spec(self, step: int) -> OcclusionSpec:
        """The occlusion of this step of the current epoch, the same on every rank."""
        rng = keyed_generator("step", self.seed, self.epoch, step)
        clean, kind, level = rng.random(), int(rng.integers(len(self.kinds))), rng.random()
        seed = training_seed(self.seed, self.epoch)
        if clean < self.clean_share:
            return OcclusionSpec("none", 0.0, seed)
        return OcclusionSpec(self.kinds[kind], self._severity(level), seed)

    def _severity(self, level: float) -> float:
        """`level` in [0, 1) -> a severity that this epoch allows."""
        low, high = self.severity_range
        if self.curriculum_epochs:
            high = low + (high - low) * min(1.0, self.epoch / self.curriculum_epochs)
        return low + (high - low) * level


class LadderSampler(Sampler[list[SampleKey]]):
    """Evaluation batches: every index once, in order, under one fixed occlusion. A torch `batch_sampler`.

    Ranks get every `world_size`-th index. Where they would get unequal numbers, the first indices are
    repeated; de-duplicate by sample id before any metric.
    """

    def __init__(
        self,
        indices: Sequence[int] | np.ndarray,
        batch_size: int,
        spec: OcclusionSpec,
        *,
        rank: int = 0,
        world_size: int = 1,
    ):
        check_spec(spec)
        padded = np.resize(np.asarray(indices, np.int64), -(-len(indices) // world_size) * world_size)
        self.mine = padded[rank::world_size]
        self.batch_size, self.spec = batch_size, spec

    def __len__(self) -> int:
        return -(-len(self.mine) // self.batch_size)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        for start in range(0, len(self.mine), self.batch_size):
            yield [(int(index), self.spec) for index in self.mine[start : start + self.batch_size]]
