"""Divergence: a training whose loss or weights are no longer finite ends in one line, before it is saved."""

from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from data_modules.errors import UserError
from fau_mae.weights.checkpoints import not_finite

ADVICE = (
    "lower model.init_args.optim.lr, set trainer.gradient_clip_val, or train in trainer.precision=32-true; "
    "checkpoints from before are kept"
)


class Divergence(Callback):
    """Looks at the loss of every step and, before each checkpoint, at the weights. Raises `UserError`.

    On a GPU the loss is looked at every `trainer.log_every_n_steps` steps, so that no step waits for it; which step
    was the first is known all the same.
    """

    def __init__(self) -> None:
        self._first: Tensor | None = None  # the step whose loss was the first not to be finite; -1 = none

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = (outputs["loss"] if isinstance(outputs, Mapping) else outputs).detach()
        if self._first is None:
            self._first = torch.full((), -1, device=loss.device)
        is_first = ~loss.isfinite() & (self._first < 0)
        self._first = torch.where(is_first, trainer.global_step, self._first)
        if loss.device.type == "cpu" or batch_idx % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._look()

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._look()
        if (name := not_finite(checkpoint["state_dict"])) is not None:
            raise UserError(
                f"training has diverged: weight {name} is not finite after step {trainer.global_step}; {ADVICE}"
            )

    def _look(self) -> None:
        if self._first is not None and (step := int(self._first)) >= 0:
            raise UserError(f"training has diverged: the loss of step {step} is not finite; {ADVICE}")
