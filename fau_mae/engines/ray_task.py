"""One step of a run in a process of its own, as a Ray worker does it on any machine of the cluster."""

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_modules.errors import UserError
from data_modules.files import read_text
from data_modules.locks import locked
from fau_mae.runs.processes import start_logged

WAITS = "it waits for another one"  # why a step is not done whose forerunner failed
_FREE_SECONDS = 30.0  # that a process may take to end after its worker was killed


class Killed(Exception):
    """A step's process was ended from outside: the step is to be tried again."""


@dataclass(frozen=True)
class Work:
    """A step as a worker needs it.

    `line`: arguments of `fau-mae`. `folder`: what it fills. `finished`: the file that says that a stage is done, None
    for other steps. `log`: what it says goes there, and stays there where it fails. `cwd`: what paths are relative to.
    `environment`: laid over the worker's.
    """

    line: list[str]
    folder: Path
    finished: Path | None
    log: Path
    cwd: Path
    environment: Mapping[str, str]


def do_work(work: Work, *before: str | None) -> str | None:
    """Do a step; None once it is done, else why it is not.

    `before`: what came of the steps that it waited for. Raises `Killed` where the process was ended from outside.
    """
    if any(before):
        return WAITS
    _wait_until_free(work.cwd / work.folder)
    process = start_logged(work.line, work.log, work.cwd, {**os.environ, **work.environment})
    try:
        while (code := process.poll()) is None:
            time.sleep(0.1)
    except BaseException:  # cancelled: a stage first finishes its step and saves
        process.terminate()
        process.wait()
        raise
    if code < 0 or code in (128 + signal.SIGINT, 128 + signal.SIGTERM):
        raise Killed(f"exit code {code}")
    if code:
        return _last_line(work.log) or f"exit code {code}"
    if work.finished is not None and not (work.cwd / work.finished).exists():
        return "it was not trained in earnest: see what --set says of it (fast_dev_run, limits of 0)"
    work.log.unlink(missing_ok=True)
    return None


def _wait_until_free(folder: Path) -> None:
    """Until the process of a worker that was killed has let go of a folder; of other commands the step itself tells."""
    until = time.monotonic() + _FREE_SECONDS
    while time.monotonic() < until:
        try:
            with locked(folder):
                return
        except UserError:
            time.sleep(0.5)


def _last_line(log: Path) -> str:
    lines = [line for line in read_text(log).split("\n") if line.strip()]
    said = [line for line in lines if line.startswith("fau-mae: ")] or lines
    return said[-1].removeprefix("fau-mae: ").strip()
