"""Teacher: learns AUs from the whole picture, whatever the data module put into it."""

import torch
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
        losses = self.label_losses(self(batch), batch)
        loss = torch.stack(list(losses.values())).sum()
        self.log_losses({**(losses if len(losses) > 1 else {}), "loss": loss})
        return loss
