"""Facial action units that survive occlusion: masked-autoencoder backbones, distillation, the occlusion ladder.

    import fau_mae

    fau_mae.Detector().detect("photo.jpg").table()  # one row per face: AUs, which are hidden, which to believe
    model = fau_mae.load("student.ckpt")
    table = model.predict(faces)  # uint8 RGB (B, H, W, 3) -> one row per face, one column per AU

What stands in `__all__` is the interface; each name is imported when it is first used, so that `import fau_mae` loads
neither torch nor Lightning.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_modules.face_data import FaceDataModule
    from data_modules.occlusion.config import OcclusionConfig
    from fau_mae.evaluation.evaluate import evaluate
    from fau_mae.inference.detector import Detection, Detector
    from fau_mae.inference.predictor import Predictor, Reading, load
    from fau_mae.models.au_model import AUModelConfig
    from fau_mae.models.backbone.decoders import MAEConfig
    from fau_mae.tasks import MAEPretraining, OcclusionDetector, Student, Teacher

__version__ = "0.1.0"
_HOMES = {
    "AUModelConfig": "fau_mae.models.au_model",
    "Detection": "fau_mae.inference.detector",
    "Detector": "fau_mae.inference.detector",
    "FaceDataModule": "data_modules.face_data",
    "MAEConfig": "fau_mae.models.backbone.decoders",
    "MAEPretraining": "fau_mae.tasks",
    "OcclusionConfig": "data_modules.occlusion.config",
    "OcclusionDetector": "fau_mae.tasks",
    "Predictor": "fau_mae.inference.predictor",
    "Reading": "fau_mae.inference.predictor",
    "Student": "fau_mae.tasks",
    "Teacher": "fau_mae.tasks",
    "evaluate": "fau_mae.evaluation.evaluate",
    "load": "fau_mae.inference.predictor",
}
__all__ = [
    "AUModelConfig",
    "Detection",
    "Detector",
    "FaceDataModule",
    "MAEConfig",
    "MAEPretraining",
    "OcclusionConfig",
    "OcclusionDetector",
    "Predictor",
    "Reading",
    "Student",
    "Teacher",
    "evaluate",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fau_mae' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
