"""`fau-mae run --engine slurm`: the graph as Slurm job arrays, one for each level of it.

A level holds the steps whose forerunners all stand in earlier ones; its array begins once the levels before have ended
well. `submit.sh` hands the arrays to `sbatch` in order.
"""

import math
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_modules.errors import UserError
from data_modules.files import check_folder, write_text
from fau_mae.engines.resources import Resources, devices_of, nodes_of
from fau_mae.runs.graph import RESULTS, STORE, Step

SUBMIT = "submit.sh"


@dataclass(frozen=True)
class Array:
    """Steps of one level that take the same: `tasks` processes on each of `nodes`, with `gpus` per node."""

    name: str
    level: int
    nodes: int
    tasks: int
    gpus: int
    steps: list[Step]


def write_scripts(folder: Path, name: str, steps: Sequence[Step], resources: Resources) -> list[Array]:
    """A script per array in `folder`, and `submit.sh`. Raises `UserError` for a share of a GPU."""
    if resources.gpus is not None and resources.gpus != int(resources.gpus):
        raise UserError(f"--gpus-per-stage {resources.gpus:g}: Slurm gives whole ones")
    check_folder(folder)
    arrays = arrays_of([step for step in steps if not step.is_done], resources)
    job = re.sub(r"[^\w.-]", "-", name)
    submit = ["#!/bin/bash", "set -e", 'cd "$(dirname "$0")"', "mkdir -p logs"]
    before: list[str] = []  # shell variables that hold the jobs of earlier levels
    for place, array in enumerate(arrays):
        write_text(folder / f"{array.name}.sh", _script(array, job, folder, math.ceil(resources.cpus)))
        if place and arrays[place - 1].level != array.level:
            level = arrays[place - 1].level
            before = [f"job{n}" for n, earlier in enumerate(arrays) if earlier.level == level]
        after = "".join(f":${{{job}}}" for job in before)
        wait = f"--dependency=afterok{after} --kill-on-invalid-dep=yes " if before else ""
        submit += [
            f"job{place}=$(sbatch --parsable {wait}{array.name}.sh)",
            f"job{place}=${{job{place}%%;*}}",
        ]
        submit += [f'echo "{array.name}: {len(array.steps)} steps, job ${{job{place}}}"']
    write_text(folder / SUBMIT, "\n".join(submit) + "\n")
    return arrays


def submit_scripts(folder: Path) -> None:
    """Hand them to `sbatch`. Raises `UserError` where there is none, or it refuses."""
    if shutil.which("sbatch") is None:
        raise UserError(f"there is no sbatch here: on a machine of the cluster, bash {folder / SUBMIT}")
    if code := subprocess.run(["bash", str(folder / SUBMIT)], check=False).returncode:
        raise UserError(f"sbatch ended with exit code {code}; its own message is above")


def arrays_of(steps: Sequence[Step], resources: Resources) -> list[Array]:
    """The arrays in the order of their levels."""
    levels: dict[str, int] = {}
    groups: dict[tuple[int, int, int, int], list[Step]] = {}
    for step in steps:
        level = levels[step.name] = max(
            (levels[name] + 1 for name in step.waits_for if name in levels), default=0
        )
        tasks = (devices_of(step) or 1) if step.trainer else 1
        gpus = 0 if step.name in (STORE, RESULTS) or step.trainer.get("accelerator") == "cpu" else tasks
        if resources.gpus is not None and gpus:
            gpus = int(resources.gpus)
        groups.setdefault((level, nodes_of(step), tasks, gpus), []).append(step)
    arrays: list[Array] = []
    for (level, nodes, tasks, gpus), group in sorted(groups.items(), key=lambda item: item[0]):
        same = sum(array.level == level for array in arrays)
        name = f"level{level}" + (f"-{same}" if same else "")
        arrays.append(Array(name, level, nodes, tasks, gpus, group))
    return arrays


def _script(array: Array, job: str, folder: Path, cpus: int) -> str:
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={job}-{array.name} --array=0-{len(array.steps) - 1}",
        f"#SBATCH --nodes={array.nodes} --ntasks-per-node={array.tasks} --cpus-per-task={cpus}",
        *([f"#SBATCH --gpus-per-node={array.gpus}"] if array.gpus else []),
        "#SBATCH --signal=SIGUSR1@120 --requeue --open-mode=append",
        "#SBATCH --output=logs/%x-%a.txt",
        f"cd {shlex.quote(str(Path.cwd()))}",
        f"export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-{cpus}}}",
        "case $SLURM_ARRAY_TASK_ID in",
    ]
    for number, step in enumerate(array.steps):
        command = shlex.join([sys.executable, "-m", "fau_mae.cli", *step.line])
        lines += [f"{number})  # {step.name}", f"  exec srun {command} ;;"]
    return "\n".join([*lines, "esac"]) + "\n"
