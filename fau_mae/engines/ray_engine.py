"""`fau-mae run --engine ray`: every step of the graph is a Ray task, which does it in a process of its own.

Ray starts a task once those it waits for have ended, as many at once as the cluster has room for, and again elsewhere
when its worker dies; the step then goes on from what is on the disk. The files are those of a plain run.
"""

import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from fau_mae.engines.cluster import cluster  # first: it says what Ray is told before it is imported

import ray  # isort: skip
from ray.exceptions import RayError, RayTaskError  # isort: skip

from data_modules.errors import UserError
from data_modules.files import remove_folder
from fau_mae.engines.board import Board, log_of
from fau_mae.engines.ray_task import WAITS, Killed, Work, do_work
from fau_mae.engines.resources import Resources, devices_of, nodes_of
from fau_mae.run_folder import FINISHED
from fau_mae.runs.graph import Step
from fau_mae.signals import stopped_behind

LOGS = "logs"  # folder in that of the run: what each process says, while it works or when it failed
_RETRIES = 5  # of a step whose worker or process was killed
_LOOK_SECONDS = 0.5
_STOP_SECONDS = 60.0  # that stages may take to finish their step and save


def run_on_ray(resources: Resources, out: Path, steps: Sequence[Step]) -> None:
    """Do the steps that are not done. Raises `UserError` where some failed, once all that wait for none are done."""
    todo = [step for step in steps if not step.is_done]
    if not todo:
        return
    for step in todo:
        _check(step, resources)
    logs = (out / LOGS).absolute()
    remove_folder(logs)
    logs.mkdir(parents=True)
    own = {} if resources.jobs is None else {"num_cpus": math.ceil(resources.jobs * resources.cpus)}
    with cluster(resources.address, **(own if resources.address is None else {})):
        tasks = _start(todo, resources, logs)
        with Board(todo, logs) as board:
            outcomes = _wait(tasks, board)
    failed = {name: why for name, why in outcomes.items() if why not in (None, WAITS)}
    if failed:
        name, why = next(iter(failed.items()))
        raise UserError(
            f"{len(failed)} of {len(todo)} steps failed, first {name}: {why}; all they said is in {out / LOGS}; once "
            "that is mended, the same command goes on"
        )
    remove_folder(logs)


def _check(step: Step, resources: Resources) -> None:
    """Refuse what no Ray task can train."""
    if nodes_of(step) != 1:
        raise UserError(
            f"{step.name} trains over several machines: start that stage by torchrun or Slurm, see docs/scaling.md"
        )
    devices, gpus = devices_of(step), resources.gpus
    if step.trainer and gpus is not None and gpus > 1 and devices not in (None, gpus):
        raise UserError(
            f"--gpus-per-stage {gpus:g}: {step.name} trains on {devices}: add --set trainer.devices={gpus:g}"
        )


def _start(todo: Sequence[Step], resources: Resources, logs: Path) -> dict[str, ray.ObjectRef]:
    """A task for each step. Raises `UserError` where this machine can never give what one takes."""
    there = ray.cluster_resources()
    takes = {step.name: _share(step, resources, there) for step in todo}
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, int(resources.cpus))))
    told = {key: value for key, value in os.environ.items() if key.startswith(("WANDB_", "FAU_MAE_"))}
    tasks: dict[str, ray.ObjectRef] = {}
    for step in todo:
        work = Work(
            step.line,
            step.folder,
            step.folder / FINISHED if step.trainer else None,
            log_of(logs, step.name),
            Path.cwd(),
            {"OMP_NUM_THREADS": threads} | told,
        )
        task = ray.remote(do_work).options(
            name=step.name,
            num_cpus=resources.cpus,
            num_gpus=takes[step.name],
            max_retries=_RETRIES,
            retry_exceptions=[Killed],
        )
        tasks[step.name] = task.remote(work, *(tasks[name] for name in step.waits_for if name in tasks))
    return tasks


def _share(step: Step, resources: Resources, there: Mapping[str, float]) -> float:
    """GPUs of a step."""
    gpus = resources.gpus
    if gpus is None:
        without = step.trainer.get("accelerator") == "cpu" or not there.get("GPU")
        gpus = 0.0 if without else float(devices_of(step) or 1)
    for option, wanted, kind in (("cpus", resources.cpus, "CPU"), ("gpus", gpus, "GPU")):
        if resources.address is None and wanted > there.get(kind, 0):
            raise UserError(f"--{option}-per-stage {wanted:g}: this machine has {there.get(kind, 0):g}")
    return gpus


def _wait(tasks: Mapping[str, ray.ObjectRef], board: Board) -> dict[str, str | None]:
    """What came of each step, None where it is done. When this process is stopped, stages first save."""
    outcomes: dict[str, str | None] = {}
    try:
        while len(outcomes) < len(tasks):
            left = {name: task for name, task in tasks.items() if name not in outcomes}
            ready, _ = ray.wait(list(left.values()), num_returns=len(left), timeout=0)
            outcomes |= {name: _outcome(task) for name, task in left.items() if task in ready}
            board.show(outcomes)
            time.sleep(_LOOK_SECONDS)
    except BaseException as error:
        waiting = [task for name, task in tasks.items() if name not in outcomes]
        for task in waiting:
            ray.cancel(task)
        ray.wait(waiting, num_returns=len(waiting), timeout=_STOP_SECONDS)
        if (stop := stopped_behind(error)) is not None:
            raise stop from None
        raise
    return outcomes


def _outcome(task: ray.ObjectRef) -> str | None:
    try:
        return ray.get(task)
    except RayTaskError as error:
        if isinstance(error, Killed):
            return f"it was killed {_RETRIES + 1} times, perhaps for want of memory"
        return " ".join(str(error).split())[-300:]
    except RayError as error:
        return " ".join(str(error).split())[:300]
