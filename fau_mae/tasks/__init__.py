"""Training stages as LightningModules: pre-train, teach, distil, find masks. They know batches, not data sets."""

from fau_mae.tasks.detector import OcclusionDetector
from fau_mae.tasks.pretrain import MAEPretraining
from fau_mae.tasks.student import Student
from fau_mae.tasks.teacher import Teacher

__all__ = ["MAEPretraining", "OcclusionDetector", "Student", "Teacher"]
