"""Trainings in processes of their own: two ranks on this machine, and a signal sent at a step that is known."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from conftest import TINY

from data_modules.stores.store import FaceStore

# Runs the command line with `CUT=rank,epoch,step,signal`: that rank sends itself that signal before that step.
_CUT = """
import os, sys
from fau_mae import cli
from fau_mae.tasks.stage import Stage

begin = Stage.on_train_batch_start
rank, epoch, step, signum = map(int, os.environ.get("CUT", "-1,0,0,0").split(","))

def cut(module, batch, now):
    if (module.global_rank, module.current_epoch, now) == (rank, epoch, step):
        os.kill(os.getpid(), signum)
    begin(module, batch, now)

Stage.on_train_batch_start = cut
sys.exit(cli.main())
"""


def fit_line(stage: str, store: FaceStore, out: Path, *more: object) -> list[str]:
    """Arguments that train a quickstart stage on a tiny store."""
    config = f"quickstart/{stage}"
    line = ["fit", "--config", config, "--out", out, f"--data.store={store.path}", *TINY, *more]
    return [str(word) for word in line]


def in_processes(
    folder: Path, line: list[str], cut: tuple[int, int, int, int] | None = None
) -> subprocess.CompletedProcess:
    """Run `fau-mae LINE` in a process of its own; Lightning starts the other ranks."""
    script = folder / "fau_mae_cut.py"
    script.write_text(_CUT)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}
    if cut is not None:
        env["CUT"] = ",".join(map(str, cut))
    return subprocess.run(
        [sys.executable, str(script), *line], capture_output=True, text=True, env=env, cwd=folder, timeout=300
    )


def start_command(folder: Path, line: list[object], **environment: str) -> subprocess.Popen[str]:
    """Start `fau-mae LINE` in `folder`, in a process group of its own, as a shell would: Ctrl-C is not ignored."""
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parent.parent),
        **environment,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "fau_mae.cli", *map(str, line)],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def alive_below(pid: int) -> list[int]:
    """Processes below `pid` that are alive, from /proc."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, todo = [], [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended but is not yet waited for has no command line left."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False
