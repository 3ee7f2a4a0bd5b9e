"""Trainings that can be stopped at any moment: whole checkpoints only, and a stop between two steps when asked.

What a stage resumes from is `checkpoints/last.ckpt`. It is written at the end of every epoch, every few minutes inside
one, and when a signal asks the training to stop; always where an optimiser step is complete, so nothing of a step is
lost or done twice. After SIGKILL or a power cut the last of these is there, whole.
"""

import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from data_modules import files
from data_modules.errors import Stopped
from fau_mae.run_folder import LAST
from fau_mae.signals import SAME_SECONDS, STOPS

_STOPS = (*STOPS, signal.SIGUSR1)  # the last is how Slurm announces a preemption


class WholeFilesIO(TorchCheckpointIO):
    """Writes a checkpoint aside, in its own folder, then renames it.

    Lightning's own way passes through the system's temporary folder, and a move to another disk is not atomic.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with files.aside(Path(path)) as part, part.open("wb") as file:
            torch.save(checkpoint, file)
            files.flush(file)


def epoch_checkpoints(folder: Path, metric: str, mode: str) -> list[Callback]:
    """`best` by the model's own metric, then `last`: so `last` knows of the best, whatever comes between the two."""
    return [  # `save_last` of one callback would follow the best: it is not written when nothing improved
        ModelCheckpoint(folder, "best", monitor=metric, mode=mode, enable_version_counter=False),
        ModelCheckpoint(folder, "last", enable_version_counter=False),
    ]


class Interruption(Callback):
    """Saves `last.ckpt` inside an epoch, every `minutes` and when a signal says stop; then raises `Stopped`.

    All ranks save and stop at the same step, whichever of them was asked. A second Ctrl-C stops at once, without
    saving. On Slurm, Lightning's handler of the preemption signal (it requeues the job) is called once all is saved.
    """

    def __init__(self, folder: Path, minutes: float):
        self.path, self.seconds = folder / LAST, 60 * minutes
        self._asked = self._stopping = 0  # number of a signal, 0 = none
        self._saved_step = -1
        self._asked_at = 0.0
        self._replaced: dict[int, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._asked = self._stopping = 0
        self._saved = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            self._replaced = {signum: signal.signal(signum, self._ask) for signum in _STOPS}

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if signum == signal.SIGINT and self._asked and now - self._asked_at > SAME_SECONDS:
            raise Stopped(signum)
        if not self._asked:
            self._asked, self._asked_at = signum, now

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.is_last_batch or not _step_is_complete(trainer):
            return  # after the last one, validation and the checkpoint of the epoch are next
        due = bool(self._asked) or time.monotonic() - self._saved >= self.seconds
        if not trainer.strategy.reduce_boolean_decision(due, all=False):
            return
        trainer.save_checkpoint(self.path)
        self._saved = time.monotonic()
        if trainer.strategy.reduce_boolean_decision(bool(self._asked), all=False):
            self._stopping = self._asked or signal.SIGTERM

    def on_train_batch_start(self, *_: Any) -> None:
        if not self._stopping:  # only now are the metrics of the step that was saved in the log
            return
        if self._stopping == signal.SIGUSR1 and callable(requeue := self._replaced[signal.SIGUSR1]):
            requeue(signal.SIGUSR1, None)
        raise Stopped(self._stopping)

    def on_save_checkpoint(self, trainer: L.Trainer, *_: Any) -> None:
        self._saved_step = trainer.global_step

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Lightning saves after validations: a training that ends without one, as by `max_steps`, is saved here."""
        if self._saved_step != trainer.global_step:
            trainer.save_checkpoint(self.path)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        for signum, handler in self._replaced.items():
            signal.signal(signum, handler)
        self._replaced = {}
        if self._asked:  # after the last step, where none looks at it any more
            raise Stopped(self._asked)


def _step_is_complete(trainer: L.Trainer) -> bool:
    """Whether this batch ended with an optimiser step: gradients that wait for more batches are in no checkpoint."""
    return trainer.fit_loop.epoch_loop.batch_progress.current.ready % trainer.accumulate_grad_batches == 0
