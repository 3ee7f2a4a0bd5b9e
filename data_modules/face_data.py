"""FaceDataModule: a store's folds, augmentation and occlusion as batches that say what is hidden. True = visible."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader

from data_modules.batch import FaceBatch, FaceShape
from data_modules.errors import UserError
from data_modules.faces.augmentation import FaceAugmentation
from data_modules.faces.camera import Camera
from data_modules.facs import au_name, au_region
from data_modules.folds import LabelConfig, Split, labelled_rows, split_rows
from data_modules.occlusion.config import OcclusionConfig
from data_modules.occlusion.sampler import LadderSampler, SeverityBatchSampler
from data_modules.occlusion.spec import OcclusionSpec
from data_modules.ranges import BELOW_1, FREE, FROM_0, FROM_1, Range, check_arguments
from data_modules.stores.face_dataset import FaceDataset
from data_modules.stores.joined import JoinedStores
from data_modules.stores.store import FaceStore

CLEAN = OcclusionSpec("none", 0.0)


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
        cameras: tint, gamma, blur, noise and compression as well, each face as another camera would show it.
        num_workers: loader processes; masks and pictures do not depend on it.
        seed: of validation subjects, shuffling, augmentation and training masks.
        occlusion: see `OcclusionConfig`.
        labels: of whom labels are used; see `LabelConfig`.
        aus: those of the store that take part, in this order; () = all.
        unlabelled: further stores, whose faces take part without labels where `labels.with_unlabelled` is set; people
            that validate or test this fold are left out. Any size and AUs, the same crop preset.

    `faces` says what a model of these faces must fit: the shape of a `FaceShape`. `aus`: their numbers, in order.
    """

    def __init__(
        self,
        store: Path,
        fold: Annotated[int, FROM_1] = 1,
        num_folds: Annotated[int, Range(2)] = 3,
        val_share: Annotated[float, BELOW_1] = 0.1,
        image_size: Annotated[int, FROM_0] = 0,
        grid: Annotated[int, FROM_0] = 0,
        batch_size: Annotated[int, FROM_1] = 64,
        augment: bool = True,
        cameras: bool = False,
        num_workers: Annotated[int, FROM_0] = 0,
        seed: Annotated[int, FROM_0] = 0,
        occlusion: OcclusionConfig = OcclusionConfig(),  # noqa: B008 - frozen
        labels: LabelConfig = LabelConfig(),  # noqa: B008 - frozen
        aus: Annotated[Sequence[int], FREE] = (),
        unlabelled: Sequence[Path] = (),
    ):
        super().__init__()
        check_arguments(FaceDataModule.__init__, "data", locals())
        self.store = FaceStore(store)
        self.aus, self.preset = _chosen(aus, self.store), self.store.info.preset
        self.image_size = image_size or self.store.info.size
        self.grid = grid or fitting_grid(self.image_size)
        if self.image_size % self.grid:
            raise UserError(f"data.image_size {self.image_size} is not a multiple of data.grid {self.grid}")
        regions = tuple(au_region(au, self.preset) for au in self.aus)
        self.faces = FaceShape(self.image_size, self.grid, regions, self.preset)
        self.fold, self.num_folds, self.val_share = fold, num_folds, val_share
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.augment, self.cameras = augment, cameras
        self.occlusion, self.labels = occlusion, labels
        self.saliency: Mapping[int, np.ndarray] = {}  # sample id -> (h, w): a sweep sets a model's maps here
        split = split_rows(self.store, fold, num_folds, val_share, seed)
        self.labelled = labelled_rows(self.store, split.train, labels, seed)
        self.split: Split = split if labels.with_unlabelled else split._replace(train=self.labelled)
        self.unlabelled = [FaceStore(path) for path in unlabelled] if labels.with_unlabelled else []
        self._joined = JoinedStores(self.store, self.unlabelled)
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
        labels = self.known("labels")[self.labelled]
        known = (labels >= 0).sum(0)
        return torch.from_numpy(
            np.where(known > 0, (labels == 1).sum(0) / np.maximum(known, 1), np.nan)
        ).float()

    def has_intensities(self) -> bool:
        """Whether any training face has a known intensity of any AU."""
        return bool((~np.isnan(self.known("intensity")[self.labelled])).any())

    def known(self, column: str) -> np.ndarray:
        """`labels` or `intensity` of every row of the store, (rows, A)."""
        return self.store.column(column)[:, [self.store.info.aus.index(au) for au in self.aus]]

    def dataset(self, augment: bool, room: int = 0, further: bool = False) -> FaceDataset:
        """Its faces, `further` those of unlabelled stores; decoded anew each time but for `room` bytes of them."""
        stores = self._joined if further else JoinedStores(self.store)
        augmentation = FaceAugmentation() if augment else None
        camera = Camera() if augment and self.cameras else None
        dataset = FaceDataset(
            stores, self.aus, self.image_size, self.grid, self.occlusion.fill, augmentation, room, camera
        )
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
            same_faces=self.trainer is not None and bool(self.trainer.overfit_batches),  # type: ignore[attr-defined]
            **self._ranks(),
        )
        sampler.resume_at(*self._entry)
        self._train_sampler = sampler
        return self._loader(self.dataset(self.augment, further=True), sampler)

    def _repeated(self) -> np.ndarray:
        """The training rows, the labelled ones as often as `labels.share` asks for."""
        places = range(len(self.unlabelled))
        rows = np.concatenate(
            [self.split.train, *(self._joined.rows_of(place, self._kept_apart(place)) for place in places)]
        )
        wanted = self.labels.share / (1 - self.labels.share) * (len(rows) - len(self.labelled))
        more = max(1, int(np.ceil(wanted / len(self.labelled)))) - 1
        return np.concatenate([rows, np.tile(self.labelled, more)])

    def _kept_apart(self, place: int) -> set[str]:
        """People of an unlabelled store that this fold validates or tests, by name."""
        if self.unlabelled[place].info.population != self.store.info.population:
            return set()
        apart = np.concatenate([self.split.validation, self.split.test])
        return set(self.store.column("subject")[apart].tolist())

    def read_unlabelled(self) -> Iterator[tuple[FaceStore, set[str]]]:
        """Every store that is read without labels, and the names of the people who are."""
        for place, store in enumerate(self.unlabelled):
            yield store, set(store.column("subject").tolist()) - self._kept_apart(place)

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


def _chosen(aus: Sequence[int], store: FaceStore) -> tuple[int, ...]:
    """The AUs that take part. Raises `UserError` for one that the store has not, and for one that is named twice."""
    known = store.info.aus
    for au in aus:
        if au not in known:
            raise UserError(
                f"data.aus: {store.path} has no {au_name(au)}, only {', '.join(map(au_name, known))}"
            )
        if list(aus).count(au) > 1:
            raise UserError(f"data.aus names {au_name(au)} twice")
    return tuple(aus) or known


def fitting_grid(size: int) -> int:
    """Tokens of a side for pictures of `size` pixels: as near 14 as patches of 8 pixels or more allow that divide it.

    224 -> 14, 112 -> 14, 96 -> 12, 48 -> 6. Raises `UserError` for a size that has no such grid of 4 or more.
    """
    grids = [grid for grid in range(4, size // 8 + 1) if size % grid == 0]
    if not grids:
        raise UserError(f"no grid divides faces of {size} pixels: give data.image_size, such as 96 or 224")
    return min(grids, key=lambda grid: abs(grid - 14))
