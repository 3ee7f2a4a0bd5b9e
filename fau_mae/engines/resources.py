"""What there is for the steps of a run, and what a step takes of it."""

from dataclasses import dataclass

from fau_mae.runs.graph import Step


@dataclass(frozen=True)
class Resources:
    """What is there, and what a step takes of it.

    `address`: of a Ray cluster; None = this machine. `jobs`: how many steps at once on this machine, None = as many as
    its cores hold. `cpus`, `gpus`: of one step; gpus None = a stage's own `trainer.devices`, where there are GPUs.
    """

    address: str | None = None
    jobs: int | None = None
    cpus: float = 1
    gpus: float | None = None


def devices_of(step: Step) -> int | None:
    """How many devices of a machine a stage asks for, None where it takes all there are."""
    devices = step.trainer.get("devices", "auto")
    if isinstance(devices, list):
        return len(devices)
    try:
        return int(devices) if int(devices) > 0 else None
    except ValueError:
        return None


def nodes_of(step: Step) -> int:
    """Over how many machines it trains."""
    return int(step.trainer.get("num_nodes", 1))
