"""All that an occlusion may look at when it decides what to hide."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_modules.landmarks import five_points
from data_modules.occlusion.chart import Chart, aligned_points, packed_chart
from data_modules.occlusion.objects import Cutout


class Scene(NamedTuple):
    """One face to be occluded. No mask depends on the pixels of `image`, only on its size."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    grid: int  # cells per side of the grid kinds
    pool: str = "test"  # of textures and shapes
    landmarks: np.ndarray | None = None  # (P, 2) x, y in pixels
    donor: np.ndarray | None = None  # another face, uint8 RGB, any size
    aus: Sequence[int] = ()  # for `au_targeted`; empty means all
    saliency: np.ndarray | None = None  # (h, w) float over the crop, for `saliency`
    objects: Sequence[Cutout] = ()  # for `objects`
    preset: str = "canonical"  # how the face is cropped: says where its parts are without landmarks

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[:2]  # type: ignore[return-value]

    @property
    def five_points(self) -> np.ndarray:
        """Left eye, right eye, nose tip, left and right mouth corner, (5, 2) pixels."""
        if self.landmarks is None:
            return aligned_points(*self.size, self.preset)
        return five_points(self.landmarks)

    @property
    def packed_chart(self) -> np.ndarray:
        """Face coordinates of this face's pixels, for compiled code."""
        return packed_chart(self.landmarks, *self.size, self.preset)

    @property
    def chart(self) -> Chart:
        """Face coordinates of this face's pixels."""
        return Chart(*self.packed_chart.tolist())
