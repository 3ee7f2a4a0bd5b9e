"""What shows where a grid kind hides a face: grey, the mean colour, noise, a heavy blur, or another face."""

from functools import lru_cache

import cv2
import numpy as np

from data_modules.errors import UserError
from data_modules.occlusion.spec import OcclusionSpec, draws
from data_modules.streams import keyed_generator

FILLS = ("grey", "mean", "noise", "blur", "donor")
_GREY = 127
_BLUR_DETAIL = 8  # the blurred picture keeps at most this many details per side
_NOISE_MARGIN = 128  # a face's noise is cut out of one larger tile at a random place within this margin


def fill_hidden(
    image: np.ndarray,
    visible: np.ndarray,
    fill: str,
    spec: OcclusionSpec,
    sample_id: int,
    donor: np.ndarray | None,
) -> np.ndarray:
    """A new picture (H, W, 3) uint8: `image` where `visible` (H, W), True = visible, and `fill` elsewhere.

    "blur" still lets the face's coarse light and colour through; the other fills let nothing through.
    Raises `UserError` for an unknown fill, or "donor" without a donor picture.
    """
    result = _filling(image, fill, spec, sample_id, donor)
    cv2.copyTo(image, visible.view(np.uint8), result)
    return result


def _filling(
    image: np.ndarray, fill: str, spec: OcclusionSpec, sample_id: int, donor: np.ndarray | None
) -> np.ndarray:
    """The filling for the whole crop (H, W, 3) uint8, a new array."""
    height, width = image.shape[:2]
    if fill == "grey":
        return np.full_like(image, _GREY)
    if fill == "mean":
        filling = np.empty_like(image)
        filling[0] = np.array(mean_colour(image), np.uint8)
        filling[1:] = filling[0]
        return filling
    if fill == "noise":
        place = draws(spec._replace(kind=f"{spec.kind}/noise"), sample_id)
        top, left = place.below(_NOISE_MARGIN), place.below(_NOISE_MARGIN)
        return _noise_tile(height, width)[top : top + height, left : left + width].copy()
    if fill == "blur":
        return _blurred(image)
    if fill == "donor":
        if donor is None:
            raise UserError(
                f"fill 'donor' of occlusion '{spec.kind}' needs a donor picture: give one or change the fill"
            )
        return resized(donor, height, width).copy()
    raise UserError(f"unknown fill '{fill}': choose one of {', '.join(FILLS)}")


def mean_colour(image: np.ndarray) -> tuple[float, float, float]:
    """The mean colour of every fourth row, RGB 0-255: as good as that of all for a quarter of the time."""
    red, green, blue = cv2.mean(image[::4])[:3]
    return red, green, blue


@lru_cache(maxsize=4)
def _noise_tile(height: int, width: int) -> np.ndarray:
    """Uniform noise (height + margin, width + margin, 3) uint8, the same for every face of this size."""
    shape = (height + _NOISE_MARGIN, width + _NOISE_MARGIN, 3)
    return keyed_generator("noise", height, width).integers(0, 256, shape, np.uint8)


def _blurred(image: np.ndarray) -> np.ndarray:
    """Shrink the picture until little detail is left, then enlarge it again: cheaper than a wide kernel.

    The first step looks at one pixel in four, which so wide a blur does not show.
    """
    height, width = image.shape[:2]
    quarter = (max(1, width // 4), max(1, height // 4))
    few = (min(quarter[0], _BLUR_DETAIL), min(quarter[1], _BLUR_DETAIL))
    small = cv2.resize(image, quarter, interpolation=cv2.INTER_LINEAR)
    small = cv2.resize(small, few, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The picture at this size; itself where it has it."""
    if image.shape[:2] == (height, width):
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
