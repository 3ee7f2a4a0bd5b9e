"""All that an occlusion may look at when it decides what to hide."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from data_modules.occlusion.objects import Cutout
from data_modules.occlusion.placement import Chart, five_points


@dataclass(frozen=True)
class Scene:
    """One face to be occluded. No mask depends on the pixels of `image`, only on its size."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    grid: int  # cells per side of the grid kinds
    pool: str = "test"  # of textures and shapes
    landmarks: np.ndarray | None = None  # (P, 2) x, y in pixels
    donor: np.ndarray | None = None  # another face, uint8 RGB, any size
    aus: Sequence[int] = ()  # for `au_targeted`; empty means all
    saliency: np.ndarray | None = None  # (h, w) float over the crop, for `saliency`
    objects: Sequence[Cutout] = ()  # for `objects`

    @property
    def height(self) -> int:
        return self.image.shape[0]

    @property
    def width(self) -> int:
        return self.image.shape[1]

    @cached_property
    def chart(self) -> Chart:
        """Face coordinates of this face's pixels."""
        return Chart.of(five_points(self.landmarks, self.height, self.width))
