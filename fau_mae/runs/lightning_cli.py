"""`fau-mae fit / validate / test`: Lightning's command line for one stage, writing into one folder per stage."""

import contextlib
import io
import logging
import resource
import sys
import time
import warnings
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from lightning.pytorch.callbacks import Callback, WeightAveraging
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities import rank_zero_only

from data_modules.errors import UserError
from data_modules.face_data import FaceDataModule
from data_modules.files import write_json, write_text
from data_modules.locks import locked
from data_modules.ranges import FROM_0, Range, check_arguments, check_number
from fau_mae import tracking
from fau_mae.run_folder import FINISHED, last_checkpoint, mark_finished
from fau_mae.runs.divergence import Divergence
from fau_mae.runs.interruption import Interruption, WholeFilesIO, epoch_checkpoints
from fau_mae.runs.metrics_files import join_metrics, set_metrics_aside
from fau_mae.runs.plan import complete
from fau_mae.runs.resuming import check_checkpoint, nothing_left
from fau_mae.runs.schema import LARGEST_SEED
from fau_mae.runs.settings.complaints import as_user_errors, misconfigurations, words_of
from fau_mae.runs.settings.keys import check_sizes, why_refused
from fau_mae.runs.settings.trainer import build_trainer, check_monitors, check_trainer, whole_numbers
from fau_mae.tasks.optim import global_batch, peak_lr
from fau_mae.tasks.stage import Stage

_STRICT = {"exit_on_error": False}
_SEEDS = Range(0, LARGEST_SEED)


class _Done(Exception):
    """There is nothing to do, or no more than to look at the settings."""


class Begun(Callback):
    """Knows whether a batch has reached the model: what is raised before is a matter of settings."""

    def __init__(self) -> None:
        self.yes = False

    def on_train_batch_start(self, *_: Any) -> None:
        self.yes = True

    on_validation_batch_start = on_test_batch_start = on_train_batch_start  # type: ignore[assignment]


class StageCLI(LightningCLI):
    """Lightning's CLI with `--out`: config, metrics, checkpoints and the W&B run of a stage go there."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        return {name: known for name, known in LightningCLI.subcommands().items() if name != "predict"}

    def __init__(self, *args: Any, held: contextlib.ExitStack, rehearses: bool = False, **kwargs: Any):
        """`held`: ends with the command; here it gets the lock of the stage's folder.

        With `rehearses` all settings are tried, and nothing is begun or written.
        """
        self._held, self._rehearses, self._begun = held, rehearses, Begun()
        self._line: list[str] = kwargs["args"]
        super().__init__(*args, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--out", type=Path, default=Path("runs/stage"), help="folder of this stage")
        parser.add_argument("--experiment", type=str, default="stage", help="that this stage is of, for W&B")
        parser.add_argument("--run_name", type=str, default="", help="in W&B (default: the experiment's)")
        parser.add_argument(
            "--checkpoint_minutes", type=float, default=10.0, help="save last.ckpt so often inside an epoch"
        )

    def _parse_ckpt_path(self) -> None:
        """Nothing: Lightning would take settings from a checkpoint here, and ours hold none."""

    def _set_seed(self) -> None:
        """Lightning's, but the seed is looked at before."""
        config = self.config[self.subcommand]
        for name, number in whole_numbers(self._line).items():
            config.trainer[name] = number
        check_number("checkpoint_minutes", config.checkpoint_minutes, FROM_0)
        if not isinstance(config.seed_everything, bool):
            check_number("seed_everything", config.seed_everything, _SEEDS)
        check_trainer(config.trainer)
        super()._set_seed()

    def before_instantiate_classes(self) -> None:
        """`--ckpt_path` `last` and `best` are this stage's; with no last one yet, `fit` starts afresh."""
        config = self.config[self.subcommand]
        if self._rehearses:
            return
        if getattr(rank_zero_only, "rank", 0) == 0:  # for all ranks of a training
            self._held.enter_context(locked(config.out))
        if config.ckpt_path in ("last", "best"):
            own = last_checkpoint(Path(config.out)).with_name(f"{config.ckpt_path}.ckpt")
            starts = self.subcommand == "fit" and config.ckpt_path == "last" and not own.exists()
            config.ckpt_path = None if starts else str(own)
        # The words are Lightning's, for others that it looks for.
        if config.ckpt_path not in (None, "hpc", "registry"):
            reached = check_checkpoint(Path(config.ckpt_path))
            if self.subcommand == "fit" and (line := nothing_left(Path(config.out), reached, config.trainer)):
                print(line)
                raise _Done

    def instantiate_classes(self) -> None:
        """Lightning's; a rehearsal does without a store that is yet to be made."""
        config = self.config[self.subcommand]
        without = self._rehearses and not (Path(config.data.store) / "store.json").exists()
        if without:
            self.parser.add_instantiator(_check_alone, FaceDataModule, subclasses=False, prepend=True)
        with as_user_errors("settings"):
            super().instantiate_classes()
        if self._rehearses:
            if not without and isinstance(self.model, Stage):
                self.model.judge_by(self.datamodule)
                self.model.check_training(self.datamodule)
                # Without memory for weights; a part that looks at its own weights cannot be built so.
                with torch.device("meta"), contextlib.suppress(RuntimeError):
                    self.model.build(self.datamodule.faces)
            raise _Done
        if config.ckpt_path is not None and isinstance(self.model, Stage):
            self.model.init_from = None  # every weight is the checkpoint's, and that one may be gone by now

    def instantiate_trainer(self, **kwargs) -> L.Trainer:
        """Metrics to CSV and W&B; checkpoints `last` and `best`; see `fau_mae.runs.interruption`."""
        config = self.config[self.subcommand]
        given = self._get(self.config_init, "trainer")
        trainer = build_trainer(lambda: self._build(given, **kwargs), config.trainer)
        if self.subcommand == "fit" and isinstance(self.model, Stage):
            check_monitors(trainer, self.model)
        return trainer

    def _build(self, given: Any, **kwargs: Any) -> L.Trainer:
        config = self.config[self.subcommand]
        if self._rehearses:
            return super().instantiate_trainer(**kwargs, logger=False)
        out = Path(config.out)
        if self.subcommand == "fit":
            set_metrics_aside(out)
        loggers: list = [CSVLogger(out, name="", version="", flush_logs_every_n_steps=1)]
        if self.subcommand == "fit":
            data = self.datamodule
            called = config.run_name or config.experiment
            names = (called, data.fold, data.seed, data.store.info.dataset, data.occlusion.kinds)
            if (logger := tracking.wandb_logger(out, *names)) is not None:
                loggers.append(logger)
        folder = out / "checkpoints"
        return super().instantiate_trainer(
            **{
                **kwargs,
                "logger": loggers,
                "callbacks": [
                    *(given["callbacks"] or []),
                    self._begun,
                    Divergence(),  # before those that save
                    Interruption(folder, config.checkpoint_minutes),
                    *epoch_checkpoints(folder, *self.model.monitor),
                ],
                "plugins": [*(given["plugins"] or []), WholeFilesIO()],
                "default_root_dir": out,
            }
        )

    def fit(self, **kwargs: Any) -> None:
        self._do(self.trainer.fit, kwargs)

    def validate(self, **kwargs: Any) -> None:
        self._do(self.trainer.validate, kwargs)

    def test(self, **kwargs: Any) -> None:
        self._do(self.trainer.test, kwargs)

    def _do(self, work: Callable[..., Any], arguments: dict[str, Any]) -> None:
        """Work, with what Lightning and torch say of settings as one line."""
        try:
            with misconfigurations("trainer"):
                work(**arguments)
        except Exception:
            if self._begun.yes:
                raise
            with as_user_errors("the stage cannot be set up"):
                raise

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
            join_metrics(Path(self.config.fit.out))
            for logger in self.trainer.loggers:
                if isinstance(logger, WandbLogger):
                    tracking.log_checkpoint(logger.experiment, last_checkpoint(Path(self.config.fit.out)))
            if self._trained_as_configured():
                options = self.config.fit.model.init_args
                given = (options.get(name) for name in ("init_from", "teacher"))
                mark_finished(Path(self.config.fit.out), [Path(path) for path in given if path])
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


def _check_alone(kind: type, **settings: Any) -> None:
    check_arguments(kind.__init__, "data", settings)  # type: ignore[misc]


def run_lightning(arguments: Sequence[str], rehearses: bool = False) -> Path | None:
    """Run `fit`, `validate` or `test` with Lightning's options; with `rehearses` only try all settings.

    Returns the stage's folder, None where nothing was to be done.

    Raises `UserError` for settings that cannot be read or obeyed, `Stopped` when a signal ended the training.
    """
    _quiet_lightning()
    held = contextlib.ExitStack()
    line = complete(list(arguments))
    check_sizes(line)
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
            args=line,
            rehearses=rehearses,
        )
    except _Done:
        return None
    except ArgumentError as error:
        raise UserError(why_refused(line) or words_of(error)) from error
    finally:
        tracking.finish()
        held.close()
    return Path(cli.config[cli.subcommand].out)


def check_line(arguments: Sequence[str]) -> None:
    """Try a `fit` line's settings, on its store where that is there. Raises `UserError` as `run_lightning` does."""
    with contextlib.redirect_stdout(io.StringIO()):
        run_lightning(arguments, rehearses=True)


def _quiet_lightning() -> None:
    """Keep progress bars and real warnings; drop advertisements and warnings about what is done on purpose."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        "You're using the WeightAveraging callback with a model that overrides",  # with sharding it is refused
        "LightningCLI's args parameter",  # a run trains several stages in one process, so from within Python
        "Experiment logs directory",  # `set_metrics_aside` keeps what was there
        "Checkpoint directory",  # resumed stages write where they wrote before
        "You're resuming from a checkpoint that ended before the epoch ended",  # the data module knows the step
        "FSDP2-wrapped module .* returned a view tensor",  # the encoder's tokens, which nobody writes into
        ".*does not have many workers",  # on few cores workers only compete with the training itself
        ".*isinstance\\(treespec, LeafSpec\\)",  # between lightning and torch: Lightning-AI/pytorch-lightning
    ):
        warnings.filterwarnings("ignore", message=message)
