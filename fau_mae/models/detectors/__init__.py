"""Which tokens are hidden, told from the picture alone.

A detector takes `(config, faces, options)`: the encoder's `BackboneConfig`, the `FaceShape` and its own options. It has
an `encoder`, a `threshold` that training sets, and `visible(image)`; its `forward` gives logits of being hidden (B, N).
"""

from dataclasses import dataclass, field
from typing import Any

from data_modules.batch import FaceShape
from fau_mae.models.backbone.encoder import BackboneConfig
from fau_mae.models.detectors.token_detector import TokenDetector, TokenDetectorOptions
from fau_mae.models.registry import Entry, Registry

DETECTORS = Registry("detector", token=Entry(TokenDetector, TokenDetectorOptions))


@dataclass(frozen=True)
class DetectorConfig(BackboneConfig):
    """All options of a detector.

    Args:
        size, stem, stem_options, drop_path: of the encoder, see `BackboneConfig`.
        detector: key of `DETECTORS`.
        detector_options: what that may be told; `token` takes nothing.
    """

    detector: str = "token"
    detector_options: dict[str, Any] = field(default_factory=dict)


def build_detector(config: DetectorConfig, faces: FaceShape) -> TokenDetector:
    """The detector that `config` names. Raises `UserError` for an unknown one."""
    return DETECTORS.build(config.detector, config.detector_options, config, faces)
