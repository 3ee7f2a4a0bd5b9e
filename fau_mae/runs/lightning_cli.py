"""`fau-mae fit / validate / test`: Lightning's command line for one stage, writing into one folder per stage."""

import argparse
import contextlib
import difflib
import inspect
import io
import logging
import os
import re
import resource
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import torch
import yaml
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities import rank_zero_only

from data_modules.errors import UserError
from data_modules.face_data import FaceDataModule
from data_modules.files import write_csv, write_json, write_text
from data_modules.folds import LabelConfig
from data_modules.locks import locked
from data_modules.occlusion.config import OcclusionConfig
from fau_mae import tasks, tracking
from fau_mae.distillation import DistilConfig
from fau_mae.losses import AULossConfig
from fau_mae.models.au_model import AUModelConfig
from fau_mae.models.backbone.decoders import MAEConfig
from fau_mae.models.detectors import DetectorConfig
from fau_mae.run_folder import FINISHED, last_checkpoint, mark_finished, read_logged
from fau_mae.runs.divergence import Divergence
from fau_mae.runs.interruption import Interruption, WholeFilesIO, epoch_checkpoints
from fau_mae.runs.plan import complete
from fau_mae.tasks.au_task import AUTask
from fau_mae.tasks.optim import OptimConfig, global_batch, peak_lr

_BEGIN_ANEW = (
    "delete it and run the same command again; its curves begin anew"  # the cure of a damaged metrics.csv
)
_STRICT = {"exit_on_error": False}
# Nested under a model's init_args and under data.
OPTION_GROUPS = (
    AUModelConfig,
    DetectorConfig,
    MAEConfig,
    OptimConfig,
    AULossConfig,
    DistilConfig,
    OcclusionConfig,
    LabelConfig,
)


class StageCLI(LightningCLI):
    """Lightning's CLI with `--out`: config, metrics, checkpoints and the W&B run of a stage go there."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        return {name: known for name, known in LightningCLI.subcommands().items() if name != "predict"}

    def __init__(self, *args: Any, held: contextlib.ExitStack, **kwargs: Any):
        """`held`: ends with the command; here it gets the lock of the stage's folder."""
        self._held = held
        super().__init__(*args, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--out", type=Path, default=Path("runs/stage"), help="folder of this stage")
        parser.add_argument("--experiment", type=str, default="stage", help="tag of the W&B run")
        parser.add_argument(
            "--checkpoint_minutes", type=float, default=10.0, help="save last.ckpt so often inside an epoch"
        )

    def before_instantiate_classes(self) -> None:
        """`--ckpt_path last` is `last.ckpt` of this stage, or a fresh start when there is none yet."""
        config = self.config[self.subcommand]
        if getattr(rank_zero_only, "rank", 0) == 0:  # for all ranks of a training
            self._held.enter_context(locked(config.out))
        if self.subcommand == "fit" and config.ckpt_path == "last":
            last = last_checkpoint(Path(config.out))
            config.ckpt_path = str(last) if last.exists() else None

    def instantiate_trainer(self, **kwargs) -> L.Trainer:
        """Metrics to CSV and W&B; checkpoints `last` and `best`; see `fau_mae.runs.interruption`."""
        config = self.config[self.subcommand]
        out = Path(config.out)
        if self.subcommand == "fit":
            _set_metrics_aside(out)
        loggers: list = [CSVLogger(out, name="", version="", flush_logs_every_n_steps=1)]
        if self.subcommand == "fit":
            data = self.datamodule
            names = (config.experiment, data.fold, data.seed, data.store.info.dataset, data.occlusion.kinds)
            if (logger := tracking.wandb_logger(out, *names)) is not None:
                loggers.append(logger)
        given = self._get(self.config_init, "trainer")
        folder = out / "checkpoints"
        return super().instantiate_trainer(
            **{
                **kwargs,
                "logger": loggers,
                "callbacks": [
                    *(given["callbacks"] or []),
                    Divergence(),  # before those that save
                    Interruption(folder, config.checkpoint_minutes),
                    *epoch_checkpoints(folder, *self.model.monitor),
                ],
                "plugins": [*(given["plugins"] or []), WholeFilesIO()],
                "default_root_dir": out,
            }
        )

    def before_fit(self) -> None:
        """Keep the whole config, as a file and in W&B, and say what the learning rate comes to."""
        if isinstance(self.trainer.strategy, ModelParallelStrategy) and any(
            isinstance(callback, WeightAveraging)
            for callback in self.trainer.callbacks  # type: ignore[attr-defined]
        ):
            raise UserError(
                "trainer.callbacks: averaged weights need whole models; use another strategy than sharded"
            )
        self._started = time.monotonic()
        config = self.config.fit
        text = self._parser("fit").dump(config, skip_validation=True)
        if self.trainer.is_global_zero:
            (Path(config.out) / FINISHED).unlink(missing_ok=True)  # until this training has come to its end
            write_text(Path(config.out) / "config.yaml", text)
        for logger in self.trainer.loggers:
            if isinstance(logger, WandbLogger) and self.trainer.is_global_zero:
                logger.experiment.config.update(yaml.safe_load(text) | self._rate(), allow_val_change=True)
        if self.trainer.is_global_zero:
            print(
                "{global_batch} faces a step, peak learning rate {peak_lr:.3g}".format(**self._rate()),
                flush=True,
            )

    def _rate(self) -> dict[str, float]:
        """The batch of an optimiser step over all processes, and the rate that follows from it."""
        batch = global_batch(self.trainer, self.datamodule.batch_size)
        return {"global_batch": batch, "peak_lr": peak_lr(self.model.optim, batch)}

    def after_fit(self) -> None:
        if self.trainer.is_global_zero and self.trainer.state.finished:
            write_json(Path(self.config.fit.out) / "cost.json", self._cost())
            _join_metrics(Path(self.config.fit.out))
            for logger in self.trainer.loggers:
                if isinstance(logger, WandbLogger):
                    tracking.log_checkpoint(logger.experiment, last_checkpoint(Path(self.config.fit.out)))
            if self._trained_as_configured():
                mark_finished(Path(self.config.fit.out))
            for requeued in Path(self.config.fit.out).glob("hpc_ckpt_*.ckpt"):  # Lightning's, on Slurm
                requeued.unlink()

    def _trained_as_configured(self) -> bool:
        """Not where settings made it a rehearsal: the stage is still to do then."""
        given = self.config.fit.trainer
        trained = self.trainer.global_step > 0 and self.trainer.limit_train_batches and not given.fast_dev_run
        if not trained:
            print(
                f"{self.config.fit.out}: nothing was trained in earnest, so the stage does not count as finished"
            )
        return bool(trained)

    def _cost(self) -> dict[str, float | int | str]:
        """What this training took; after an interruption, the last part of it."""
        if torch.cuda.is_available():
            peak = torch.cuda.max_memory_allocated()
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
                1 if sys.platform == "darwin" else 1024
            )
        return {
            "seconds": round(time.monotonic() - self._started, 1),
            "peak_memory_mb": round(peak / 2**20),
            "device": self.trainer.strategy.root_device.type,
            "processes": self.trainer.world_size,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            **self._rate(),
        }


def run_lightning(arguments: Sequence[str]) -> Path:
    """Run `fit`, `validate` or `test` with Lightning's options; returns the stage's folder.

    Raises `UserError` for a config that does not parse, `Stopped` when a signal ended the training.
    """
    _quiet_lightning()
    held = contextlib.ExitStack()
    try:
        cli = StageCLI(
            L.LightningModule,
            FaceDataModule,
            held=held,
            subclass_mode_model=True,
            save_config_callback=None,
            seed_everything_default=0,
            trainer_defaults={
                "use_distributed_sampler": False,  # the data module's samplers know the ranks
                "logger": False,
                "enable_checkpointing": True,
                "enable_model_summary": False,
                "log_every_n_steps": 10,
            },
            parser_kwargs={"exit_on_error": False, "fit": _STRICT, "validate": _STRICT, "test": _STRICT},
            args=complete(list(arguments)),
        )
    except argparse.ArgumentError as error:
        raise UserError(_one_line(str(error))) from error
    finally:
        tracking.finish()
        held.close()
    return Path(cli.config[cli.subcommand].out)


def check_line(arguments: Sequence[str]) -> None:
    """Parse a `fit` line and do nothing more. Raises `UserError` as `run_lightning` does."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        run_lightning([*arguments, "--print_config"])


def _quiet_lightning() -> None:
    """Keep progress bars and real warnings; drop advertisements and warnings about what is done on purpose."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        "You're using the WeightAveraging callback with a model that overrides",  # with sharding it is refused
        "LightningCLI's args parameter",  # a run trains several stages in one process, so from within Python
        "Experiment logs directory",  # `_set_metrics_aside` keeps what was there
        "Checkpoint directory",  # resumed stages write where they wrote before
        "You're resuming from a checkpoint that ended before the epoch ended",  # the data module knows the step
        "FSDP2-wrapped module .* returned a view tensor",  # the encoder's tokens, which nobody writes into
        ".*does not have many workers",  # on few cores workers only compete with the training itself
        ".*isinstance\\(treespec, LeafSpec\\)",  # between lightning and torch: Lightning-AI/pytorch-lightning
    ):
        warnings.filterwarnings("ignore", message=message)


def _set_metrics_aside(out: Path) -> None:
    """Lightning's CSV logger starts an empty file; keep what an interrupted training of this stage has logged."""
    metrics = out / "metrics.csv"
    if metrics.exists() and not os.environ.get("LOCAL_RANK"):
        read_logged(
            metrics, _BEGIN_ANEW
        )  # a damaged one is said before the training, not when the parts are joined
        metrics.rename(out / f"metrics.part{len(list(out.glob('metrics.part*.csv')))}.csv")


def _join_metrics(out: Path) -> None:
    """One metrics.csv of all parts; steps that were repeated after an interruption count once, the last time."""
    parts = [*sorted(out.glob("metrics.part*.csv")), out / "metrics.csv"]
    tables = [read_logged(part, _BEGIN_ANEW) for part in parts]
    tables = [table for table in tables if len(table)]
    if not tables:
        return
    for i, table in enumerate(tables[:-1]):
        tables[i] = table[table["step"] < min(later["step"].min() for later in tables[i + 1 :])]
    write_csv(out / "metrics.csv", pd.concat(tables, ignore_index=True))
    for part in parts[:-1]:
        part.unlink()


def _one_line(message: str) -> str:
    """The parser's complaint without its usage text; an unknown key gets the nearest valid one."""
    line = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", message).split())
    # Of a model's settings the parser tells every type it tried; the first one is the model, with the real complaint.
    if inner := re.search(r"Errors: - (?:Problem with given class_path \S+: )?(.*?) - Expected a", line):
        line = inner[1]
        if "Expected a" in line:
            return line
    unknown = re.search(r"(?:[Uu]nrecognized arguments: -*|(?:[Kk]ey|option) ['\"])([\w.]+)", line)
    if unknown is None:
        return line
    name = unknown[1].split(".")[-1]
    nearest = difflib.get_close_matches(name, _known_names(), n=1, cutoff=0.0)[0]
    return f"unknown setting {unknown[1]!r}: did you mean {nearest!r}? `fau-mae fit --help` lists them all"


def _known_names() -> set[str]:
    """Last parts of the keys that a stage's config may hold."""
    known = {
        "base",
        "out",
        "experiment",
        "seed_everything",
        "class_path",
        "init_args",
        "model",
        "data",
        "trainer",
        "ckpt_path",
        "checkpoint_minutes",
    }
    for takes in (L.Trainer, FaceDataModule, tasks.MAEPretraining, tasks.Student, AUTask, *OPTION_GROUPS):
        known |= set(inspect.signature(takes).parameters)
    return known
