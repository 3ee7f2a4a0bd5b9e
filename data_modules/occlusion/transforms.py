"""Occlusion as an albumentations transform, for anyone's `A.Compose`. Mask polarity: True = visible.

albumentations draws from generators that forked DataLoader workers share and repeat in every epoch. This
transform never touches them: what it hides follows from the keys it is given, on any worker.
"""

import hashlib
import os
from typing import Any

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # no question to the network at import
import albumentations as A

from data_modules.errors import UserError
from data_modules.occlusion.apply import check_spec, occlude
from data_modules.occlusion.fill import FILLS
from data_modules.occlusion.objects import load_objects
from data_modules.occlusion.spec import PROTOCOL_SEED, OcclusionSpec, training_seed
from data_modules.streams import keyed_generator

_OPTIONAL = ("landmarks", "donor", "aus", "saliency", "preset")  # keys that are handed on to `occlude`


class Occlude(A.ImageOnlyTransform):
    """Hide part of a face by any kind of the suite; adds the pixel mask to the result as `visible`.

    `A.Compose([Occlude("hand", severity=(0.1, 0.5))])(image=face, sample_id=7)` returns the picture as
    `image`, (H, W, 3) uint8 RGB, and `visible`, (H, W) bool, True = visible. More keys may be given: `epoch`
    (a new mask in each; without it a face keeps its mask, the protocol's when `mask_seed` is 0), `landmarks`
    (P, 2) pixels, `donor`, `aus`, `saliency`, `preset` as in `occlude`. Without `sample_id` its bytes are the key.

    `severity` is a share 0-1 or a (low, high) range; `grid` the cells per side of grid kinds; `objects` the
    folder of the kind "objects". Place it after geometric transforms, which would not move `visible`.
    Raises `UserError` for an unknown kind or fill and for severities outside 0-1.
    """

    def __init__(
        self,
        kind: str,
        severity: float | tuple[float, float] = 0.5,
        *,
        fill: str = "mean",
        grid: int = 14,
        mask_seed: int = PROTOCOL_SEED,
        objects: str | None = None,
        p: float = 1.0,
    ):
        super().__init__(p=p)
        self.kind, self.severity, self.fill, self.grid, self.objects = kind, severity, fill, grid, objects
        self.mask_seed = mask_seed  # `seed` is albumentations' own name
        self._cutouts = load_objects(objects) if objects else ()
        for share in self._range():
            check_spec(OcclusionSpec(kind, share))
        if fill not in FILLS:
            raise UserError(f"unknown fill '{fill}': choose one of {', '.join(FILLS)}")

    @property
    def targets_as_params(self) -> list[str]:
        return ["image"]

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        image = data["image"]
        key = data.get("sample_id")
        sample_id = _content_key(image) if key is None else int(key)
        seed = (
            self.mask_seed if data.get("epoch") is None else training_seed(self.mask_seed, int(data["epoch"]))
        )
        spec = OcclusionSpec(self.kind, self._draw_severity(seed, sample_id), seed)
        given = {name: data[name] for name in _OPTIONAL if data.get(name) is not None}
        picture, visible = occlude(
            image, spec, sample_id, grid=self.grid, fill=self.fill, objects=self._cutouts, **given
        )
        return {"picture": picture, "visible": visible}

    def apply(self, img: np.ndarray, picture: np.ndarray, **params: Any) -> np.ndarray:
        return picture

    def apply_with_params(self, params: dict[str, Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {**super().apply_with_params(params, *args, **kwargs), "visible": params["visible"]}

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        return ("kind", "severity", "fill", "grid", "mask_seed", "objects")

    def _range(self) -> tuple[float, float]:
        return self.severity if isinstance(self.severity, tuple) else (self.severity, self.severity)

    def _draw_severity(self, seed: int, sample_id: int) -> float:
        low, high = self._range()
        return low + (high - low) * keyed_generator("severity", seed, sample_id, self.kind).random()


def _content_key(image: np.ndarray) -> int:
    """A 63-bit number that the picture's bytes determine."""
    digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
