"""Hide part of a face: the one front door of the occlusion suite. Mask polarity: True = visible."""

import difflib
from collections.abc import Sequence

import numpy as np

from data_modules.errors import UserError
from data_modules.facs import PRESETS
from data_modules.occlusion.fill import fill_hidden
from data_modules.occlusion.grid import cells_to_pixels
from data_modules.occlusion.kinds import KINDS
from data_modules.occlusion.objects import Cutout
from data_modules.occlusion.paint import paint
from data_modules.occlusion.scene import Scene
from data_modules.occlusion.spec import OcclusionSpec, draws, pool_of
from data_modules.streams import Draws

__all__ = ["KINDS", "check_spec", "donor_of", "occlude"]


def occlude(
    image: np.ndarray,
    spec: OcclusionSpec,
    sample_id: int,
    *,
    grid: int,
    landmarks: np.ndarray | None = None,
    fill: str = "mean",
    donor: np.ndarray | None = None,
    aus: Sequence[int] = (),
    saliency: np.ndarray | None = None,
    objects: Sequence[Cutout] = (),
    preset: str = "canonical",
) -> tuple[np.ndarray, np.ndarray]:
    """Hide part of a face -> (picture (H, W, 3) uint8, visible (H, W) bool, True = visible).

    `image` is uint8 RGB (H, W, 3) and is left alone. `grid` is the number of cells per side of grid kinds,
    as a rule the model's token grid; `fill` is what they show (`fill.FILLS`). `landmarks` (P, 2) are x, y in
    pixels, 5 or iBUG 49/51/66/68 points; without them parts are where a crop by `preset` has them. `donor` is another
    face, uint8 RGB of any size; `aus` the targets of `au_targeted` (all by default); `saliency` a map (h, w);
    `objects` come from `objects.load_objects`. Severity 0 and kind "none" hide nothing.

    The mask depends on spec, sample id, grid and landmarks (and `aus`, `saliency`, `objects` where used), not
    on the pixels. Raises `UserError` for an unknown kind or fill, a severity outside 0-1, a picture that is
    not uint8 RGB, and a kind whose material is missing.
    """
    check_spec(spec)
    if preset not in PRESETS:
        raise UserError(f"unknown crop preset {preset!r}: use one of {', '.join(PRESETS)}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UserError(f"a face must be uint8 RGB (H, W, 3), not {image.dtype} {image.shape}")
    image = np.ascontiguousarray(image)  # OpenCV takes no other layout
    kind = KINDS[spec.kind]
    if spec.severity > 0 and kind.cells:
        scene = Scene(image, grid, landmarks=landmarks, aus=aus, saliency=saliency, preset=preset)
        visible = cells_to_pixels(kind.cells(draws(spec, sample_id), spec.severity, scene), *image.shape[:2])
        return fill_hidden(image, visible, fill, spec, sample_id, donor), visible
    if spec.severity > 0 and kind.draw:
        scene = Scene(image, grid, pool_of(spec.seed), landmarks, donor, objects=objects, preset=preset)
        return paint(scene, kind.draw(draws(spec, sample_id), scene), spec.severity)
    return image.copy(), np.ones(image.shape[:2], bool)


def check_spec(spec: OcclusionSpec) -> None:
    """Raise `UserError` for an unknown kind, naming the nearest valid one, and for a severity outside 0-1."""
    if spec.kind not in KINDS:
        nearest = difflib.get_close_matches(spec.kind, KINDS, n=1, cutoff=0.0)[0]
        raise UserError(
            f"unknown occlusion kind '{spec.kind}': did you mean '{nearest}'? Kinds: {', '.join(KINDS)}"
        )
    if not 0 <= spec.severity <= 1:
        raise UserError(
            f"occlusion severity {spec.severity} of '{spec.kind}' is outside 0-1 (share of the crop)"
        )


def donor_of(spec: OcclusionSpec, sample_id: int, subject: int, subjects: np.ndarray) -> int:
    """The index of the face that a `donor` fill or `other_face` shows: keyed, of another subject if any is.

    `subjects` (M,) are the subjects of the faces to choose from; severity plays no part, so masks of one face
    show the same donor at every severity.
    """
    others = np.flatnonzero(np.asarray(subjects) != subject)
    choices = others if len(others) else np.arange(len(subjects))
    return int(choices[Draws("donor", spec.seed, sample_id, spec.kind).below(len(choices))])
