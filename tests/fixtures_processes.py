"""Trainings in processes of their own: two ranks on this machine, and a signal sent at a step that is known."""

import os
import subprocess
import sys
from pathlib import Path

from conftest import TINY

from data_modules.stores.store import FaceStore
from fau_mae.runs.config_files import experiments_root

# Runs the command line with `CUT=rank,epoch,step,signal`: that rank sends itself that signal before that step.
_CUT = """
import os, sys
from fau_mae import cli
from fau_mae.tasks import au_task, pretrain

reseed = pretrain.reseed_step
rank, epoch, step, signum = map(int, os.environ.get("CUT", "-1,0,0,0").split(","))

def cut(module, now):
    if (module.global_rank, module.current_epoch, now) == (rank, epoch, step):
        os.kill(os.getpid(), signum)
    reseed(module, now)

pretrain.reseed_step = au_task.reseed_step = cut
sys.exit(cli.main())
"""


def fit_line(stage: str, store: FaceStore, out: Path, *more: object) -> list[str]:
    """Arguments that train a quickstart stage on a tiny store."""
    config = experiments_root() / "quickstart" / f"{stage}.yaml"
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
