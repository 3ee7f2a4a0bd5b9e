"""Weights & Biases: one run per stage and one per evaluation, with the whole config; offline when there is no key.

Every W&B run has group `RUN/fold<k>-seed<s>`, RUN being the name of the run's folder or what `--name` said, job type =
stage (`evaluate` for the occlusion ladder) and the data set and occlusion kinds as tags. Its files stay under the
stage's folder.
"""

import netrc
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import wandb
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from data_modules.errors import UserError
from data_modules.files import read_text, write_text
from fau_mae.run_folder import fold_name

_MODES: dict[str, Literal["online", "offline", "disabled"]] = {
    "online": "online", "run": "online", "shared": "online",
    "offline": "offline", "dryrun": "offline",
    "disabled": "disabled",
}  # fmt: skip
AGENT_VARIABLES = ("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH")

TRIAL = "FAU_MAE_TRIAL"  # of a sweep: tells the runs of one trial from those of another


_SECONDS = 10  # that W&B may take to answer; a run that gets no answer stays on disk
_unreachable = False  # whether it did not, once in this process


class StageLogger(WandbLogger):
    """Lightning's logger with a run that `start_run` starts."""

    @property
    @rank_zero_experiment
    def experiment(self) -> wandb.Run:
        if self._experiment is None:
            self._experiment = start_run(**self._wandb_init)
            self._experiment.define_metric("trainer/global_step")
            self._experiment.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        return self._experiment  # type: ignore[return-value]


def wandb_logger(
    out: Path, run: str, fold: int, seed: int, dataset: str, kinds: Sequence[str]
) -> StageLogger | None:
    """A logger for one stage, None where W&B is disabled; nothing leaves the machine without a key.

    A stage that is taken up again goes on in the same run; offline that would hide its first part, so there each
    part is a run of the same name.
    """
    if mode() == "disabled":
        return None
    goes_on = mode() == "online" and not os.environ.get("WANDB_RUN_ID")
    return StageLogger(
        **_identity(run, fold, seed, out.name, dataset, kinds),
        save_dir=out,
        id=_run_id(out) if goes_on else None,
    )


def start_run(**values: Any) -> wandb.Run:
    """`wandb.init`, on disk where the server does not answer within seconds. Raises `UserError` for what it refuses."""
    global _unreachable
    values.pop("anonymous", None)  # Lightning's; W&B warns of it
    given = {"silent": True, "console": "off", "save_code": False, **values.pop("settings", {})}
    if "WANDB_INIT_TIMEOUT" not in os.environ:
        given["init_timeout"] = _SECONDS
    wanted = mode()
    try:
        try:
            return wandb.init(**values, mode=wanted, settings=wandb.Settings(**given))
        except wandb.errors.CommError as error:
            if wanted != "online" or isinstance(error, wandb.errors.AuthenticationError):
                raise
            print(f"W&B does not answer, so runs stay offline: {_first_line(error)}", file=sys.stderr)
            _unreachable = True
            values["id"] = secrets.token_hex(4)  # the other one is taken by the attempt
            return wandb.init(**values, mode="offline", settings=wandb.Settings(**given))
    except (wandb.Error, ValueError) as error:  # W&B's settings are checked by pydantic
        raise UserError(
            f"W&B: {_first_line(error)}; mend that, or set WANDB_MODE=offline or disabled"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def evaluation_run(
    folder: Path, name: str, fold: int, seed: int, dataset: str, kinds: Sequence[str], config: Mapping
) -> wandb.Run:
    """A W&B run of job type `evaluate` whose `occlusion/*` metrics have the hidden share as their x-axis.

    `name`: of the run whose fold and seed it is; in its config as `run_name`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = start_run(
        **_identity(name, fold, seed, "evaluate", dataset, kinds),
        dir=folder,
        config={"run_name": name, "fold": fold, "seed": seed, "dataset": dataset, **config},
    )
    run.define_metric("occlusion/severity")
    run.define_metric("occlusion/*", step_metric="occlusion/severity")
    return run


def sweep_run(folder: Path, name: str) -> wandb.Run:
    """A W&B run of job type `sweep`, beside those of its trials."""
    folder.mkdir(parents=True, exist_ok=True)
    return start_run(
        project=project(), name=f"{name}/summary", group=name, job_type="sweep", tags=["sweep"], dir=folder
    )


def _identity(
    run: str, fold: int, seed: int, stage: str, dataset: str, kinds: Sequence[str]
) -> dict[str, Any]:
    place = fold_name(fold, seed)
    group = f"{run}/{place}"
    return {
        "project": project(),
        "name": f"{os.environ.get(TRIAL) or os.environ.get('WANDB_RUN_ID') or run}/{place}/{stage}",
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
    if mode() == "disabled":
        return
    known = {n.removeprefix("WANDB_").lower(): agent[n] for n in AGENT_VARIABLES[1:] if agent.get(n)}
    with start_run(
        id=agent["WANDB_RUN_ID"], project=project(), job_type="run", dir=out, settings=known
    ) as run:
        run.log(dict(metrics))


def mode() -> Literal["online", "offline", "disabled"]:
    """What becomes of runs: as WANDB_MODE says; without it they are sent where a key is known. Raises `UserError`."""
    asked = os.environ.get("WANDB_MODE", "").strip().lower()
    if asked and asked not in _MODES:
        raise UserError(f"WANDB_MODE={asked}: use online, offline or disabled")
    wanted = _MODES[asked] if asked else "online" if has_key() else "offline"
    return "offline" if wanted == "online" and _unreachable else wanted


def is_offline() -> bool:
    """Whether nothing is sent to W&B: see `mode`."""
    return mode() != "online"


def has_key() -> bool:
    """Whether an API key is known, from the environment or a netrc file that can be read."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    server = os.environ.get("WANDB_BASE_URL") or wandb.Settings().base_url
    try:
        known = netrc.netrc(Path(os.environ.get("NETRC", "~/.netrc")).expanduser()).hosts
    except (OSError, RuntimeError, ValueError, netrc.NetrcParseError):
        return False
    return bool({urlsplit(server).hostname, "api.wandb.ai"} & set(known))


def sync_line(folder: Path) -> str | None:
    """The command that sends the offline runs below `folder`, or None where there are none."""
    if mode() != "offline":
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
