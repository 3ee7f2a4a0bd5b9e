"""Student: reads visible patches only and learns from labels and from the teacher's nodes, edges and logits."""

from pathlib import Path

import torch
from torch import Tensor

from data_modules.batch import FaceBatch
from data_modules.errors import UserError
from fau_mae.distillation import LOSSES, DistilConfig
from fau_mae.models.au_model import AUModel
from fau_mae.models.checkpoints import load_au_model
from fau_mae.tasks.au_task import AUTask


class Student(AUTask):
    """L = L_AU + ramp·(node·L_node + edge·L_edge + logit·L_logit), against the frozen teacher on the clean face.

    With all three weights 0 there is no teacher and this is the rival `dropped`.

    Args:
        teacher: checkpoint of a `Teacher` on the same AUs and grid; needed when a weight is above 0.
        node_weight, edge_weight, logit_weight: weights of the distillation terms.
        distil: how the distillation terms measure.
    """

    uses_mask = True

    def __init__(
        self,
        *args,
        teacher: Path | None = None,
        node_weight: float = 1.0,
        edge_weight: float = 1.0,
        logit_weight: float = 1.0,
        distil: DistilConfig = DistilConfig(),  # noqa: B008 - never changed in place
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.weights = {"node": node_weight, "edge": edge_weight, "logit": logit_weight}
        self.distil = distil
        self.teacher_path = teacher
        self._teacher: list[AUModel] = []  # in a list: not a submodule, so neither trained nor saved

    def on_fit_start(self) -> None:
        if any(self.weights.values()):
            self._teacher = [self._load_teacher()]

    def _load_teacher(self) -> AUModel:
        if self.teacher_path is None:
            raise UserError(
                "model.teacher is missing: distillation needs a teacher's checkpoint (or weights of 0)"
            )
        loaded = load_au_model(Path(self.teacher_path))
        if loaded.aus != self.aus:
            raise UserError(
                f"{self.teacher_path} knows {len(loaded.aus)} AUs, the store has {len(self.aus)}: train a teacher on it"
            )
        return loaded.model.to(self.device).eval().requires_grad_(False)

    def training_step(self, batch: FaceBatch, _: int) -> Tensor:
        output = self(batch)
        losses = self.label_losses(output, batch)
        loss = torch.stack(list(losses.values())).sum()
        if self._teacher:
            target = self._teacher[0](batch.clean)
            weights = {name: weight for name, weight in self.weights.items() if weight}
            losses |= {name: LOSSES[name](output, target, self.distil) for name in weights}
            ramp = self.distil.ramp(self.global_step, int(self.trainer.estimated_stepping_batches))
            loss = loss + ramp * sum(weight * losses[name] for name, weight in weights.items())
        self.log_losses({**losses, "loss": loss})
        return loss
