"""What shows where a grid kind hides a face: grey, the mean colour, noise, a heavy blur, or another face."""

import cv2
import numpy as np

from data_modules.errors import UserError
from data_modules.occlusion.spec import OcclusionSpec, stream

FILLS = ("grey", "mean", "noise", "blur", "donor")
_GREY = 127
_BLUR_CELLS = 6  # the blurred picture keeps about this many details per side


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
        filling[:] = np.round(cv2.mean(image)[:3]).astype(np.uint8)
        return filling
    if fill == "noise":
        rng = stream(spec._replace(kind=f"{spec.kind}/noise"), sample_id)
        return np.frombuffer(bytearray(rng.bytes(image.size)), np.uint8).reshape(image.shape)
    if fill == "blur":
        small = cv2.resize(image, (_BLUR_CELLS, _BLUR_CELLS), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    if fill == "donor":
        if donor is None:
            raise UserError(
                f"fill 'donor' of occlusion '{spec.kind}' needs a donor picture: give one or change the fill"
            )
        return (
            cv2.resize(donor, (width, height), interpolation=cv2.INTER_AREA)
            if donor.shape != image.shape
            else donor.copy()
        )
    raise UserError(f"unknown fill '{fill}'; choose one of {', '.join(FILLS)}")
