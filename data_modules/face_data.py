"""FaceDataModule: a store's folds, augmentation and occlusion as batches that say what is hidden. True = visible."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from data_modules.augment import FaceAugmentation
from data_modules.batch import FaceBatch, FaceShape
from data_modules.errors import UserError
from data_modules.facs import au_region
from data_modules.folds import LabelConfig, Split, labelled_rows, split_rows
from data_modules.occlusion.apply import KINDS, donor_of, occlude
from data_modules.occlusion.config import OcclusionConfig
from data_modules.occlusion.fill import FILLS
from data_modules.occlusion.sampler import LadderSampler, SampleKey, SeverityBatchSampler
from data_modules.occlusion.spec import OcclusionSpec, token_visibility
from data_modules.stores.store import FaceStore
from data_modules.streams import keyed_generator

CLEAN = OcclusionSpec("none", 0.0)
MIXED = "mixed"  # a fill of its own for each face


class FaceDataset(Dataset[FaceBatch]):
    """Faces of a store under an occlusion; a key is (row of the store, `OcclusionSpec`).

    `room`: bytes of pictures that are kept once they are decoded, for whoever reads each of them several times.
    """

    def __init__(
        self,
        store: FaceStore,
        size: int,
        grid: int,
        fill: str,
        augmentation: FaceAugmentation | None,
        room: int = 0,
    ):
        self.store, self.size, self.grid, self.fill = store, size, grid, fill
        self.augmentation = augmentation
        self.sample_ids = store.column("sample_id")
        self.labels, self.intensity = store.column("labels"), store.column("intensity")
        self.subjects = np.unique(store.column("subject"), return_inverse=True)[1]
        self.saliency: Mapping[int, np.ndarray] = {}  # sample id -> (h, w), for the kind `saliency`
        self._kept: dict[int, np.ndarray] = {}
        self._room = room

    def withhold(self, rows: np.ndarray) -> None:
        """Take the labels and intensities of these rows for unknown."""
        self.labels, self.intensity = self.labels.copy(), self.intensity.astype(np.float32)
        self.labels[rows], self.intensity[rows] = -1, np.nan

    def __getitem__(self, key: SampleKey) -> FaceBatch:
        """One face: the fields of a batch without B."""
        return FaceBatch(*(column[0] for column in self.__getitems__([key])))

    def __getitems__(self, keys: Sequence[SampleKey]) -> FaceBatch:
        """A whole batch, as `DataLoader` asks for it: every picture is written once, where the batch has it.

        `image` and `clean` are one tensor when no face of the batch is hidden.
        """
        rows = np.array([index for index, _ in keys])
        clean = np.empty((len(keys), 3, self.size, self.size), np.uint8)
        hides = any(spec.kind != "none" and spec.severity > 0 for _, spec in keys)
        image = np.empty_like(clean) if hides else clean
        visible = np.ones((len(keys), self.grid**2), bool)  # (B, N), True = visible
        for place, (index, spec) in enumerate(keys):
            landmarks = self._landmarks(index) if hides else None
            face = self._picture(index)
            if self.augmentation is not None:
                face, landmarks = self.augmentation(face, landmarks, spec.seed, int(self.sample_ids[index]))
            _write_planes(face, clean[place])
            if hides:
                shown, pixels = self._hide(face, landmarks, index, spec)
                _write_planes(shown, image[place])
                visible[place] = token_visibility(pixels, self.grid)
        clean_tensor = torch.from_numpy(clean)
        return FaceBatch(
            image=torch.from_numpy(image) if hides else clean_tensor,
            clean=clean_tensor,
            visible=torch.from_numpy(visible),
            labels=torch.from_numpy(self.labels[rows].astype(np.int8)),
            intensity=torch.from_numpy(self.intensity[rows].astype(np.float32)),
            subject=torch.from_numpy(self.subjects[rows]),
            sample_id=torch.from_numpy(self.sample_ids[rows]),
        )

    def _hide(
        self, face: np.ndarray, landmarks: np.ndarray | None, index: int, spec: OcclusionSpec
    ) -> tuple[np.ndarray, np.ndarray]:
        """Picture (H, W, 3) and visible pixels (H, W), True = visible, of a face under `spec`."""
        fill = self.fill
        if fill == MIXED:
            draws = keyed_generator("fill", spec.seed, int(self.sample_ids[index]))
            fill = FILLS[int(draws.integers(len(FILLS)))]
        wants_donor = fill == "donor" or KINDS[spec.kind].needs == "donor"
        return occlude(
            face,
            spec,
            int(self.sample_ids[index]),
            grid=self.grid,
            landmarks=landmarks,
            fill=fill,
            donor=self._donor(index, spec) if wants_donor else None,
            aus=self.store.info.aus,  # all of them: a choice by label would tell the label
            saliency=self.saliency.get(int(self.sample_ids[index])),
            preset=self.store.info.preset,
        )

    def _picture(self, index: int) -> np.ndarray:
        """The stored crop at the size asked for, (H, W, 3)."""
        if (kept := self._kept.get(int(index))) is not None:
            return kept
        image = self.store.image(index)
        if image.shape[0] != self.size:
            image = cv2.resize(image, (self.size, self.size), interpolation=cv2.INTER_AREA)
        if image.nbytes <= self._room:
            self._room -= image.nbytes
            image.flags.writeable = False  # it is many readers'
            self._kept[int(index)] = image
        return image

    def _landmarks(self, index: int) -> np.ndarray | None:
        """Its landmarks in that picture's pixels, (P, 2)."""
        landmarks = self.store.landmarks(index)
        return None if landmarks is None else landmarks * (self.size / self.store.info.size)

    def _donor(self, index: int, spec: OcclusionSpec) -> np.ndarray:
        """The face that a `donor` fill or `other_face` shows; keyed, so the same on every machine."""
        chosen = donor_of(spec, int(self.sample_ids[index]), int(self.subjects[index]), self.subjects)
        return self._picture(chosen)


def _write_planes(picture: np.ndarray, planes: np.ndarray) -> None:
    """Picture (H, W, 3) into `planes` (3, H, W); several times faster than a transposed copy."""
    cv2.split(picture, list(planes))


def _as_it_is(batch: Any) -> FaceBatch:
    return batch


class LateLoader(DataLoader):
    """A loader whose workers start with the first batch asked for.

    A plain one lets them read ahead as soon as it is iterated, which Lightning does before it sets the epoch.
    """

    def __iter__(self) -> Iterator[FaceBatch]:  # type: ignore[override]
        yield from super().__iter__()


class FaceDataModule(L.LightningDataModule):
    """One fold of a store, with training occlusions drawn per step and one fixed occlusion for evaluation.

    Args:
        store: folder that `fau-mae prepare` wrote.
        fold: 1-based; see `data_modules.folds.split_rows`.
        num_folds: parts of a store without published folds.
        val_share: share of the training subjects that validates.
        image_size: pixels of a side; 0 = as stored. A multiple of `grid`.
        grid: tokens of a side; 0 = `fitting_grid` of the size.
        batch_size: faces per step *and process*.
        augment: mirror, small similarity and colour while training.
        num_workers: loader processes; masks and pictures do not depend on it.
        seed: of validation subjects, shuffling, augmentation and training masks.
        occlusion: see `OcclusionConfig`.
        labels: of whom labels are used; see `LabelConfig`.

    `faces` says what a model of these faces must fit: the shape of a `FaceShape`. `aus`: their numbers, in order.
    """

    def __init__(
        self,
        store: Path,
        fold: int = 1,
        num_folds: int = 3,
        val_share: float = 0.1,
        image_size: int = 0,
        grid: int = 0,
        batch_size: int = 64,
        augment: bool = True,
        num_workers: int = 0,
        seed: int = 0,
        occlusion: OcclusionConfig = OcclusionConfig(),  # noqa: B008 - frozen
        labels: LabelConfig = LabelConfig(),  # noqa: B008 - frozen
    ):
        super().__init__()
        self.store = FaceStore(store)
        self.aus, self.preset = self.store.info.aus, self.store.info.preset
        self.image_size = image_size or self.store.info.size
        self.grid = grid or fitting_grid(self.image_size)
        if self.image_size % self.grid:
            raise UserError(f"data.image_size {self.image_size} is not a multiple of data.grid {self.grid}")
        regions = tuple(au_region(au, self.preset) for au in self.aus)
        self.faces = FaceShape(self.image_size, self.grid, regions, self.preset)
        self.fold, self.num_folds, self.val_share = fold, num_folds, val_share
        self.batch_size, self.augment, self.num_workers, self.seed = batch_size, augment, num_workers, seed
        self.occlusion, self.labels = occlusion, labels
        occlusion.check()
        self.saliency: Mapping[int, np.ndarray] = {}  # sample id -> (h, w): a sweep sets a model's maps here
        split = split_rows(self.store, fold, num_folds, val_share, seed)
        self.labelled = labelled_rows(self.store, split.train, labels, seed)
        self.split: Split = split if labels.with_unlabelled else split._replace(train=self.labelled)
        self._train_sampler: SeverityBatchSampler | None = None
        self._entry = (0, 0)  # epoch and step that training starts at

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], **changes: Any) -> "FaceDataModule":
        """As the `data` of a stage's `config.yaml` set it up, with `changes` to its options.

        Raises `UserError` for settings that an older version wrote.
        """
        if unknown := sorted(set(settings) - set(inspect.signature(cls).parameters)):
            raise UserError(f"data settings {', '.join(unknown)} are of an older version: train it again")
        nested = {"occlusion": OcclusionConfig, "labels": LabelConfig}
        values = {key: nested[key](**value) if key in nested else value for key, value in settings.items()}
        return cls(**{**values, **changes})

    def prevalence(self) -> torch.Tensor:
        """Share of positives among the labels that training may use, per AU (A,); NaN where none is known."""
        labels = self.store.column("labels")[self.labelled]
        known = (labels >= 0).sum(0)
        return torch.from_numpy(
            np.where(known > 0, (labels == 1).sum(0) / np.maximum(known, 1), np.nan)
        ).float()

    def has_intensities(self) -> bool:
        """Whether any training face has a known intensity of any AU."""
        return bool((~np.isnan(self.store.column("intensity")[self.labelled])).any())

    def dataset(self, augment: bool, room: int = 0) -> FaceDataset:
        """Its faces, decoded anew each time but for `room` bytes of them."""
        augmentation = FaceAugmentation() if augment else None
        dataset = FaceDataset(self.store, self.image_size, self.grid, self.occlusion.fill, augmentation, room)
        dataset.saliency = self.saliency
        if len(unlabelled := np.setdiff1d(self.split.train, self.labelled)):
            dataset.withhold(unlabelled)
        return dataset

    def _ranks(self) -> dict[str, Any]:
        if self.trainer is None:
            return {"rank": 0, "world_size": 1}
        return {"rank": self.trainer.global_rank, "world_size": self.trainer.world_size}

    def state_dict(self) -> dict[str, int]:
        """Where training stands, for a checkpoint: the epoch, and how many steps of it are done."""
        assert self.trainer is not None
        done = self.trainer.fit_loop.epoch_loop.batch_progress
        if done.is_last_batch:
            return {"epoch": self.trainer.current_epoch + 1, "step": 0}
        return {"epoch": self.trainer.current_epoch, "step": done.current.processed}  # type: ignore[attr-defined]

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on from there, in a loader that exists already or is yet to be asked for."""
        self._entry = state_dict["epoch"], state_dict["step"]
        if self._train_sampler is not None:
            self._train_sampler.resume_at(*self._entry)

    def train_dataloader(self) -> DataLoader:
        sampler = SeverityBatchSampler(
            self._repeated(),
            self.batch_size,
            kinds=self.occlusion.kinds or ("none",),
            severity_range=self.occlusion.severity_range,
            clean_share=self.occlusion.clean_share,
            curriculum_epochs=self.occlusion.curriculum_epochs,
            seed=self.seed,
            **self._ranks(),
        )
        sampler.resume_at(*self._entry)
        self._train_sampler = sampler
        return self._loader(self.dataset(self.augment), sampler)

    def _repeated(self) -> np.ndarray:
        """The training rows, the labelled ones as often as `labels.share` asks for."""
        rest = len(self.split.train) - len(self.labelled)
        wanted = self.labels.share / (1 - self.labels.share) * rest
        more = max(1, int(np.ceil(wanted / len(self.labelled)))) - 1
        return np.concatenate([self.split.train, np.tile(self.labelled, more)])

    def val_dataloader(self) -> DataLoader:
        return self.ladder_dataloader("validation", self.occlusion.val_spec)

    def test_dataloader(self) -> DataLoader:
        return self.ladder_dataloader("test", self.occlusion.val_spec)

    def predict_dataloader(self) -> DataLoader:
        return self.test_dataloader()

    def ladder_dataloader(
        self, split: str, spec: OcclusionSpec, faces: FaceDataset | None = None
    ) -> DataLoader:
        """Every face of `split` (train, validation or test) once, under one fixed occlusion.

        `faces`: a `dataset` that several occlusions share, with room for pictures.
        """
        rows = getattr(self.split, split)
        faces = faces or self.dataset(False)
        return self._loader(faces, LadderSampler(rows, self.batch_size, spec, **self._ranks()))

    def _loader(self, dataset: FaceDataset, batch_sampler: Any) -> DataLoader:
        return LateLoader(
            dataset,
            batch_sampler=batch_sampler,
            collate_fn=_as_it_is,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


def fitting_grid(size: int) -> int:
    """Tokens of a side for pictures of `size` pixels: as near 14 as patches of 8 pixels or more allow that divide it.

    224 -> 14, 112 -> 14, 96 -> 12, 48 -> 6. Raises `UserError` for a size that has no such grid of 4 or more.
    """
    grids = [grid for grid in range(4, size // 8 + 1) if size % grid == 0]
    if not grids:
        raise UserError(f"no grid divides faces of {size} pixels: give data.image_size, such as 96 or 224")
    return min(grids, key=lambda grid: abs(grid - 14))
