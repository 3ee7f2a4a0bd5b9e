"""Weights & Biases: one run per stage, the whole config, offline when there is no key."""

import os
from pathlib import Path

import wandb
from lightning.pytorch.loggers import WandbLogger


def wandb_logger(out: Path, experiment: str, group: str, stage: str) -> WandbLogger:
    """A logger for one stage; its files go under `out`, and nothing leaves the machine without a key.

    Args:
        out: the stage's folder.
        experiment: W&B project.
        group: fold and seed, so that the stages of one fold are shown together.
        stage: W&B job type and run name.
    """
    return WandbLogger(
        project=os.environ.get("WANDB_PROJECT", "fau_mae"),
        name=f"{experiment}/{group}/{stage}",
        group=f"{experiment}/{group}",
        job_type=stage,
        tags=[experiment, stage],
        save_dir=out,
        offline=is_offline(),
    )


def is_offline() -> bool:
    """Whether runs stay on disk: asked for by WANDB_MODE, or because no API key is known."""
    mode = os.environ.get("WANDB_MODE")
    if mode is not None:
        return mode != "online"
    netrc = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    return not (os.environ.get("WANDB_API_KEY") or (netrc.is_file() and "wandb" in netrc.read_text()))


def finish() -> None:
    """End the W&B run, if any, so that the next stage of this process starts one of its own."""
    if wandb.run is not None:
        wandb.finish()
