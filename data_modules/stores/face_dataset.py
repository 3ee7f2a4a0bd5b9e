"""FaceDataset: faces of stores as batches that say what is hidden. Mask polarity: True = visible."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from data_modules.batch import FaceBatch
from data_modules.faces.augmentation import FaceAugmentation
from data_modules.faces.camera import Camera
from data_modules.occlusion.apply import KINDS, donor_of, occlude
from data_modules.occlusion.config import MIXED
from data_modules.occlusion.fill import FILLS
from data_modules.occlusion.sampler import SampleKey
from data_modules.occlusion.spec import OcclusionSpec, token_visibility
from data_modules.stores.joined import JoinedStores
from data_modules.streams import keyed_generator


class FaceDataset(Dataset[FaceBatch]):
    """Faces of stores under an occlusion; a key is (row of `JoinedStores`, `OcclusionSpec`).

    `aus`: of the store's, those whose labels are given, in this order.
    `camera`: changes a picture before anything is hidden; None leaves it as it is.
    `room`: bytes of pictures that are kept once they are decoded, for whoever reads each of them several times.
    """

    def __init__(
        self,
        stores: JoinedStores,
        aus: Sequence[int],
        size: int,
        grid: int,
        fill: str,
        augmentation: FaceAugmentation | None,
        room: int = 0,
        camera: Camera | None = None,
    ):
        self.stores, self.size, self.grid, self.fill = stores, size, grid, fill
        self.augmentation, self.camera = augmentation, camera
        self.sample_ids, self.subjects = stores.sample_ids(), stores.subjects()
        self.aus = aus
        columns = [stores.store.info.aus.index(au) for au in aus]
        self.labels = stores.known("labels", -1)[:, columns]
        self.intensity = stores.known("intensity", np.nan)[:, columns]
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
            landmarks = self.stores.landmarks(index, self.size) if hides else None
            face = self._picture(index)
            if self.augmentation is not None:
                face, landmarks = self.augmentation(face, landmarks, spec.seed, int(self.sample_ids[index]))
            if self.camera is not None:
                face = self.camera(face, spec.seed, int(self.sample_ids[index]))
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

    def hidden(self, index: int, spec: OcclusionSpec) -> tuple[np.ndarray, np.ndarray]:
        """One face as it is shown under `spec`, uint8 RGB (H, W, 3), and its visible pixels (H, W), True = visible."""
        return self._hide(self._picture(index), self.stores.landmarks(index, self.size), index, spec)

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
            aus=self.aus,  # all of them: a choice by label would tell the label
            saliency=self.saliency.get(int(self.sample_ids[index])),
            preset=self.stores.store.info.preset,
        )

    def _picture(self, index: int) -> np.ndarray:
        """The stored crop at the size asked for, (H, W, 3)."""
        if (kept := self._kept.get(int(index))) is not None:
            return kept
        image = self.stores.picture(index, self.size)
        if image.nbytes <= self._room:
            self._room -= image.nbytes
            image.flags.writeable = False  # it is many readers'
            self._kept[int(index)] = image
        return image

    def _donor(self, index: int, spec: OcclusionSpec) -> np.ndarray:
        """The face that a `donor` fill or `other_face` shows; keyed, so the same on every machine."""
        chosen = donor_of(spec, int(self.sample_ids[index]), int(self.subjects[index]), self.subjects)
        return self._picture(chosen)


def _write_planes(picture: np.ndarray, planes: np.ndarray) -> None:
    """Picture (H, W, 3) into `planes` (3, H, W); several times faster than a transposed copy."""
    cv2.split(picture, list(planes))
