"""`fau-mae fit / validate / test`: Lightning's command line for one stage, writing into one folder per stage."""

import argparse
import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path

import lightning as L
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, WandbLogger

from data_modules.errors import UserError
from data_modules.face_data import FaceDataModule
from data_modules.store import write_atomically
from fau_mae import tasks, tracking  # noqa: F401 - `tasks` makes short class names known to the parser

FINISHED = "finished"  # a stage folder holds a file of this name once its training is complete


class StageCLI(LightningCLI):
    """Lightning's CLI with `--out`: config, metrics, checkpoints and the W&B run of a stage go there."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        return {name: known for name, known in LightningCLI.subcommands().items() if name != "predict"}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--out", type=Path, default=Path("runs/stage"), help="folder of this stage")
        parser.add_argument("--experiment", type=str, default="stage", help="tag of the W&B run")

    def instantiate_trainer(self, **kwargs) -> L.Trainer:
        """Metrics to CSV and W&B; a checkpoint `last` every epoch and `best` by the model's own metric."""
        config = self.config[self.subcommand]
        out = Path(config.out)
        loggers: list = [CSVLogger(out, name="", version="")]
        if self.subcommand == "fit":
            loggers.append(tracking.wandb_logger(out, config.experiment, out.parent.name, out.name))
        callbacks = list(self._get(self.config_init, "trainer")["callbacks"] or [])
        metric, mode = self.model.monitor
        callbacks += [
            TQDMProgressBar(refresh_rate=5),
            ModelCheckpoint(
                out / "checkpoints",
                filename="best",
                monitor=metric,
                mode=mode,
                save_last=True,
                enable_version_counter=False,
            ),
        ]
        return super().instantiate_trainer(
            **{**kwargs, "logger": loggers, "callbacks": callbacks, "default_root_dir": out}
        )

    def before_fit(self) -> None:
        """Keep the whole config, as a file and in W&B."""
        config = self.config.fit
        text = self._parser("fit").dump(config, skip_validation=True)
        if self.trainer.is_global_zero:
            Path(config.out).mkdir(parents=True, exist_ok=True)
            write_atomically(Path(config.out) / "config.yaml", text)
        for logger in self.trainer.loggers:
            if isinstance(logger, WandbLogger) and self.trainer.is_global_zero:
                logger.experiment.config.update(yaml.safe_load(text), allow_val_change=True)

    def after_fit(self) -> None:
        if self.trainer.is_global_zero and self.trainer.state.finished:
            (Path(self.config.fit.out) / FINISHED).touch()


def run_lightning(arguments: Sequence[str]) -> None:
    """Run `fit`, `validate` or `test` with Lightning's options. Raises `UserError` for a config that does not parse."""
    try:
        StageCLI(
            L.LightningModule,
            FaceDataModule,
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
            args=list(arguments),
        )
    except argparse.ArgumentError as error:
        raise UserError(_one_line(str(error), arguments)) from error
    finally:
        tracking.finish()


_STRICT = {"exit_on_error": False}


def _one_line(message: str, arguments: Sequence[str]) -> str:
    """The parser's complaint without its usage text; an unknown key gets the nearest valid one."""
    line = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", message).split())
    return line
