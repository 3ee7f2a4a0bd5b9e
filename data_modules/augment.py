"""Training augmentation of a whole face before anything is hidden: mirror, small similarity, colour, keyed per face."""

import albumentations as A
import cv2
import numpy as np

from data_modules.occlusion.spec import keyed_generator

# Which landmark stands at each place after mirroring the picture, for outlines of 5 and of 68 points.
_MIRROR_5 = np.array([1, 0, 2, 4, 3])
_MIRROR_68 = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1)]
    + [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    + [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)

_MIRROR = {5: _MIRROR_5, 68: _MIRROR_68}


class FaceAugmentation:
    """Mirror (half of the faces), rotation, scale and shift as alignment errors make them, and colour.

    AU labels do not name a side, so mirroring keeps them. The draw depends on (seed, sample id) alone: the
    data module passes a seed that differs by run and epoch, so any worker, rank or order gives the same picture.
    """

    def __init__(self, rotation: float = 6.0, scale: float = 0.08, shift: float = 0.04):
        self.rotation, self.scale, self.shift = rotation, scale, shift
        self.colour = A.Compose(
            [
                A.ColorJitter(
                    brightness=(0.75, 1.25),
                    contrast=(0.75, 1.25),
                    saturation=(0.7, 1.3),
                    hue=(-0.02, 0.02),
                    p=0.9,
                )
            ]
        )

    def __call__(
        self, image: np.ndarray, landmarks: np.ndarray | None, seed: int, sample_id: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """uint8 RGB (H, W, 3) and landmarks (P, 2) in its pixels -> the same, moved and recoloured."""
        rng = keyed_generator("augment", seed, sample_id)
        side = image.shape[0]
        matrix = cv2.getRotationMatrix2D(
            ((side - 1) / 2,) * 2, rng.uniform(-1, 1) * self.rotation, 1 + rng.uniform(-1, 1) * self.scale
        )
        matrix[:, 2] += rng.uniform(-1, 1, 2) * self.shift * side
        if mirrored := rng.random() < 0.5:
            matrix = matrix @ np.array([[-1, 0, side - 1], [0, 1, 0], [0, 0, 1]])
        image = cv2.warpAffine(
            image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        self.colour.set_random_seed(int(rng.integers(2**31)))
        image = self.colour(image=image)["image"]
        if landmarks is not None:
            landmarks = (landmarks @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
            if mirrored and len(landmarks) in _MIRROR:
                landmarks = landmarks[_MIRROR[len(landmarks)]]
        return image, landmarks
