"""What occludes the faces of a stage: the options `data.occlusion.*`."""

from collections.abc import Sequence
from dataclasses import dataclass

from data_modules.errors import UserError
from data_modules.occlusion.apply import check_spec
from data_modules.occlusion.spec import OcclusionSpec


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
    severity_range: tuple[float, float] = (0.1, 0.9)
    clean_share: float = 0.1
    curriculum_epochs: int = 0
    fill: str = "grey"
    val_kind: str = "none"
    val_severity: float = 0.0

    @property
    def val_spec(self) -> OcclusionSpec:
        return OcclusionSpec(self.val_kind, self.val_severity)

    def check(self) -> None:
        """Raise `UserError` for an unknown kind, a severity outside 0-1, and for what a loader cannot draw."""
        for kind in self.kinds:
            check_spec(OcclusionSpec(kind, self.severity_range[1]))
        check_spec(self.val_spec)
        if "saliency" in (*self.kinds, self.val_kind):  # a loader knows no model whose maps it could hide
            raise UserError(
                "occlusion 'saliency' needs a model's maps: it is for `fau-mae evaluate` and sweeps"
            )
