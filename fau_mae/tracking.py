"""Weights & Biases: one run per stage and one per evaluation, with the whole config; offline when there is no key.

Every run has group `experiment/fold<k>-seed<s>`, job type = stage (`evaluate` for the occlusion sweep) and the data
set and occlusion kinds as tags. Its files stay under the stage's folder.
"""

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from data_modules.files import read_text, write_text
from fau_mae.run_folder import fold_name

AGENT_VARIABLES = ("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH")

TRIAL = "FAU_MAE_TRIAL"  # of a sweep: tells the runs of one trial from those of another


def wandb_logger(
    out: Path, experiment: str, fold: int, seed: int, dataset: str, kinds: Sequence[str]
) -> WandbLogger:
    """A logger for one stage; nothing leaves the machine without a key.

    A stage that is taken up again goes on in the same run; offline that would hide its first part, so there each
    part is a run of the same name.
    """
    offline = is_offline()
    return WandbLogger(
        **_identity(experiment, fold, seed, out.name, dataset, kinds),
        save_dir=out,
        offline=offline,
        id=None if offline or os.environ.get("WANDB_RUN_ID") else _run_id(out),
        settings=wandb.Settings(silent=True, console="off", save_code=False),
    )


def evaluation_run(
    folder: Path, experiment: str, fold: int, seed: int, dataset: str, kinds: Sequence[str], config: Mapping
) -> wandb.Run:
    """A W&B run of job type `evaluate` whose `occlusion/*` metrics have the hidden share as their x-axis."""
    folder.mkdir(parents=True, exist_ok=True)
    run = wandb.init(
        **_identity(experiment, fold, seed, "evaluate", dataset, kinds),
        dir=folder,
        mode="offline" if is_offline() else "online",
        config={"experiment": experiment, "fold": fold, "seed": seed, "dataset": dataset, **config},
        settings=wandb.Settings(silent=True, console="off", save_code=False),
    )
    run.define_metric("occlusion/severity")
    run.define_metric("occlusion/*", step_metric="occlusion/severity")
    return run


def _identity(
    experiment: str, fold: int, seed: int, stage: str, dataset: str, kinds: Sequence[str]
) -> dict[str, Any]:
    place = fold_name(fold, seed)
    group = f"{experiment}/{place}"
    return {
        "project": project(),
        "name": f"{os.environ.get(TRIAL) or os.environ.get('WANDB_RUN_ID') or experiment}/{place}/{stage}",
        "group": os.environ.get("WANDB_RUN_GROUP") or group,  # a sweep shows its trials together
        "job_type": stage,
        "tags": [dataset, *(kinds or ["clean"])],
    }


def project() -> str:
    """The W&B project of everything: WANDB_PROJECT, or fau_mae."""
    return os.environ.get("WANDB_PROJECT") or "fau_mae"


def _run_id(out: Path) -> str:
    """The W&B run of this stage, drawn when it first starts and kept beside it."""
    path = out / "wandb-id.txt"
    if not path.is_file() and getattr(rank_zero_only, "rank", 0) == 0:
        write_text(path, secrets.token_hex(4))
    return read_text(path) if path.is_file() else ""


def log_checkpoint(run: wandb.Run, checkpoint: Path) -> None:
    """Upload a stage's weights as a `model` artifact named after the run; online only."""
    if is_offline():
        return
    artifact = wandb.Artifact((run.name or run.id).replace("/", "-"), type="model", metadata=dict(run.config))
    artifact.add_file(str(checkpoint))
    run.log_artifact(artifact, aliases=["latest", checkpoint.stem])


def take_agent_run() -> dict[str, str]:
    """Under a W&B agent: its run, taken out of the environment so that no stage of an experiment logs to it."""
    agent = {name: os.environ.pop(name) for name in AGENT_VARIABLES if name in os.environ}
    if agent:
        os.environ[TRIAL] = agent.get("WANDB_RUN_ID", "")
    return agent


def log_to_agent_run(agent: Mapping[str, str], out: Path, metrics: Mapping[str, float]) -> None:
    """Tell the agent's run what came out of a whole experiment."""
    settings: dict[str, Any] = {"silent": True, "console": "off", "save_code": False}
    settings |= {n.removeprefix("WANDB_").lower(): agent[n] for n in AGENT_VARIABLES[1:] if agent.get(n)}
    with wandb.init(
        id=agent["WANDB_RUN_ID"],
        project=project(),
        job_type="run",
        dir=out,
        mode="offline" if is_offline() else "online",
        settings=wandb.Settings(**settings),
    ) as run:
        run.log(dict(metrics))


def is_offline() -> bool:
    """Whether runs stay on disk: asked for by WANDB_MODE, or because no API key is known."""
    mode = os.environ.get("WANDB_MODE")
    if mode is not None:
        return mode != "online"
    return not has_key()


def has_key() -> bool:
    """Whether an API key is known, from the environment or the netrc file."""
    netrc = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    return bool(os.environ.get("WANDB_API_KEY")) or (netrc.is_file() and b"wandb" in netrc.read_bytes())


def sync_line(folder: Path) -> str | None:
    """The command that sends the offline runs below `folder`, or None where there are none."""
    if not is_offline():
        return None
    for depth in ("", "*/", "*/*/", "*/*/*/"):
        pattern = f"{depth}wandb/offline-run-*"
        if any(folder.glob(pattern)):
            return f"W&B runs are offline; to send them: wandb sync {folder}/{pattern}"
    return None


def finish() -> None:
    """End the W&B run, if any, so that the next stage of this process starts one of its own."""
    if wandb.run is not None:
        wandb.finish()
