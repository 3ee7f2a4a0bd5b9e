"""What occludes the faces of a stage: the options `data.occlusion.*`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from data_modules.errors import UserError
from data_modules.occlusion.apply import check_spec
from data_modules.occlusion.fill import FILLS
from data_modules.occlusion.spec import OcclusionSpec
from data_modules.ranges import FROM_0, SHARE, check_fields

MIXED = "mixed"  # a fill of its own for each face


@dataclass(frozen=True)
class OcclusionConfig:
    """Training occlusions, drawn per step, and the one fixed occlusion of validation and test.

    Args:
        kinds: of training, one drawn per step; no kinds = clean faces.
        severity_range: drawn from evenly, once per step.
        clean_share: share of steps without occlusion, when there are kinds.
        curriculum_epochs: epochs over which the hardest severity grows from the low end of `severity_range` to
            the high one; 0 = the whole range from the start.
        fill: what hidden pixels show: grey, mean, noise, blur, donor (another face), or mixed: any of these, drawn
            per face and epoch.
        val_kind, val_severity: the occlusion of the validation and test loaders.
    """

    kinds: Sequence[str] = ()
    severity_range: Annotated[tuple[float, float], SHARE] = (0.1, 0.9)
    clean_share: Annotated[float, SHARE] = 0.1
    curriculum_epochs: Annotated[int, FROM_0] = 0
    fill: str = "grey"
    val_kind: str = "none"
    val_severity: Annotated[float, SHARE] = 0.0

    def __post_init__(self) -> None:
        """Raise `UserError` for a value out of its range, an unknown kind or fill, and for what no loader can draw."""
        check_fields(self, "data.occlusion")
        low, high = self.severity_range
        if low > high:
            raise UserError(f"data.occlusion.severity_range is [{low}, {high}]: the low end comes first")
        for kind in self.kinds:
            check_spec(OcclusionSpec(kind, high))
        check_spec(self.val_spec)
        if self.fill not in (*FILLS, MIXED):
            raise UserError(f"data.occlusion.fill is {self.fill!r}: use one of {', '.join((*FILLS, MIXED))}")
        if "saliency" in (*self.kinds, self.val_kind):  # a loader knows no model whose maps it could hide
            raise UserError(
                "occlusion 'saliency' needs a model's maps: it is for `fau-mae evaluate` and sweeps"
            )

    @property
    def val_spec(self) -> OcclusionSpec:
        return OcclusionSpec(self.val_kind, self.val_severity)
