"""Teacher: learns AUs from the whole picture, whatever the data module put into it."""

from torch import Tensor

from data_modules.batch import FaceBatch
from fau_mae.tasks.au_task import AUTask


class Teacher(AUTask):
    """Reads every token and is never told what is hidden.

    On clean faces this is the teacher, and the method `clean` when run on occluded ones; with training
    occlusions in the data module it is the rival `augmented`.
    """

    uses_mask = False

    def training_step(self, batch: FaceBatch, _: int) -> Tensor:
        loss = self.label_loss(self(batch), batch.labels)
        self.log_losses({"loss": loss})
        return loss
