"""Hide part of a face: the one front door of the occlusion suite. Mask polarity: True = visible."""

import difflib
from collections.abc import Callable
from functools import partial

import numpy as np

from data_modules.errors import UserError
from data_modules.occlusion.fill import fill_hidden
from data_modules.occlusion.grid import block_visible, cells_to_pixels, edge_visible, patches_visible
from data_modules.occlusion.spec import OcclusionSpec, stream

CellMask = Callable[[np.random.Generator, float, int], np.ndarray]

KINDS: dict[str, CellMask | None] = {
    "none": None,
    "patches": patches_visible,
    "block": block_visible,
    "upper": partial(edge_visible, edge="upper"),
    "lower": partial(edge_visible, edge="lower"),
    "left": partial(edge_visible, edge="left"),
    "right": partial(edge_visible, edge="right"),
}


def occlude(
    image: np.ndarray,
    spec: OcclusionSpec,
    sample_id: int,
    *,
    grid: int,
    landmarks: np.ndarray | None = None,
    fill: str = "mean",
    donor: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Hide part of a face -> (picture (H, W, 3) uint8, visible (H, W) bool, True = visible).

    `image` is uint8 RGB (H, W, 3) and is left alone; `grid` is the number of cells per side of the grid kinds,
    as a rule the model's token grid; `landmarks` (P, 2) are x, y in pixels of `image`; `donor` is another face,
    uint8 RGB of any size. Severity 0 and kind "none" hide nothing. The mask depends on the spec, the sample id,
    the grid and the landmarks alone. Raises `UserError` for an unknown kind or fill and for a severity outside 0-1.
    """
    check_spec(spec)
    height, width = image.shape[:2]
    cell_mask = KINDS[spec.kind]
    if cell_mask is None or spec.severity == 0:
        return image.copy(), np.ones((height, width), bool)
    visible = cells_to_pixels(cell_mask(stream(spec, sample_id), spec.severity, grid), height, width)
    return fill_hidden(image, visible, fill, spec, sample_id, donor), visible


def check_spec(spec: OcclusionSpec) -> None:
    """Raise `UserError` for an unknown kind, naming the nearest valid one, and for a severity outside 0-1."""
    if spec.kind not in KINDS:
        nearest = difflib.get_close_matches(spec.kind, KINDS, n=1, cutoff=0.0)[0]
        raise UserError(
            f"unknown occlusion kind '{spec.kind}': did you mean '{nearest}'? Kinds: {', '.join(KINDS)}"
        )
    if not 0 <= spec.severity <= 1:
        raise UserError(
            f"occlusion severity {spec.severity} of '{spec.kind}' is outside 0-1 (share of the crop to hide)"
        )
