"""Training augmentation of a whole face before anything is hidden: mirror, small similarity, colour, keyed per face.

Both steps are one pass over the picture each, a warp and a linear map of the colours: augmentation must not cost
more than decoding the picture does (`benchmarks/prepare.py` measures it).
"""

import hashlib
import math
import struct
from collections.abc import Sequence

import cv2
import numpy as np

from data_modules.landmarks import MIRROR_ORDERS

_LUMA = (0.299, 0.587, 0.114)  # how bright R, G and B look (ITU-R BT.601)
_TO_MEAN = np.full((3, 3), 1 / 3)  # a colour's share along the axis of greys
_TURN = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)  # a quarter turn about that axis
# Every colour map used here is a weighted sum of these, each a 3×3 matrix beside a shift: (5, 3·4).
_COLOUR_BASIS = np.stack(
    [
        np.column_stack([matrix, np.full(3, shift)])
        for matrix, shift in (
            (np.eye(3) - _TO_MEAN, 0),
            (_TURN, 0),
            (_TO_MEAN, 0),
            (np.tile(_LUMA, (3, 1)), 0),
            (np.zeros((3, 3)), 1),
        )
    ]
).reshape(5, 12)


class FaceAugmentation:
    """Mirror (half of the faces), rotation, scale and shift as alignment errors make them, and colour.

    `rotation` in degrees, `scale` and `shift` as shares of the side, are the largest of either sign. Colour is
    brightness and contrast within ±25 %, saturation within ±30 % and a turn of the hue within ±7°.

    AU labels do not name a side, so mirroring keeps them. The draw depends on (seed, sample id) alone: the
    data module passes a seed that differs by run and epoch, so any worker, rank or order gives the same picture.
    """

    def __init__(self, rotation: float = 6.0, scale: float = 0.08, shift: float = 0.04):
        self.rotation, self.scale, self.shift = rotation, scale, shift

    def __call__(
        self, image: np.ndarray, landmarks: np.ndarray | None, seed: int, sample_id: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """uint8 RGB (H, W, 3) and landmarks (P, 2) in its pixels -> the same, moved and recoloured."""
        draws = _draws(seed, sample_id)
        side = image.shape[0]
        matrix, mirrored = self._motion(draws[:5], side)
        # OpenCV warps four channels in less than half the time of three.
        moved = cv2.warpAffine(
            cv2.cvtColor(image, cv2.COLOR_RGB2RGBA),
            matrix,
            (side, side),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        )
        image = cv2.cvtColor(moved, cv2.COLOR_RGBA2RGB)
        image = cv2.transform(image, _colour_map(draws[5:], cv2.mean(image)))
        if landmarks is not None:
            landmarks = (landmarks @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
            if mirrored and len(landmarks) in MIRROR_ORDERS:
                landmarks = landmarks[MIRROR_ORDERS[len(landmarks)]]
        return image, landmarks

    def _motion(self, draws: Sequence[float], side: int) -> tuple[np.ndarray, bool]:
        """The 2×3 map of the pixels, and whether it mirrors."""
        turn, grow, right, down, mirror = draws
        angle, scale = math.radians(turn * self.rotation), 1 + grow * self.scale
        a, b, middle = scale * math.cos(angle), scale * math.sin(angle), (side - 1) / 2
        x = middle - (a + b) * middle + right * self.shift * side
        y = middle - (a - b) * middle + down * self.shift * side
        if mirror < 0:
            return np.array([[-a, b, x + a * (side - 1)], [b, a, y - b * (side - 1)]]), True
        return np.array([[a, b, x], [-b, a, y]]), False


def _draws(seed: int, sample_id: int) -> list[float]:
    """Nine even draws from [-1, 1): a hash is enough, and a tenth of the cost of a keyed generator."""
    digest = hashlib.blake2b(f"augment/{seed}/{sample_id}".encode(), digest_size=36).digest()
    return [value / 2**31 - 1 for value in struct.unpack("<9I", digest)]


def _colour_map(draws: Sequence[float], mean: Sequence[float]) -> np.ndarray:
    """The 3×4 linear map of RGB that changes brightness, contrast, saturation and hue; `mean` is the face's RGB."""
    brightness, contrast, saturation = 1 + 0.25 * draws[0], 1 + 0.25 * draws[1], 1 + 0.3 * draws[2]
    hue = math.tau * 0.02 * draws[3]
    grey = brightness * sum(weight * value for weight, value in zip(_LUMA, mean))  # stays under contrast
    gain = brightness * contrast
    tint = gain * saturation
    weights = (
        tint * math.cos(hue), tint * math.sin(hue), tint, gain * (1 - saturation), (1 - contrast) * grey
    )  # fmt: skip
    return (np.array(weights) @ _COLOUR_BASIS).reshape(3, 4)
