"""Processes that end with the one that started them."""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_modules.errors import Stopped
from data_modules.files import open_log

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """To be called in a child before its program starts (`preexec_fn`): on Linux it is killed when its parent is.

    Without it a killed run or sweep would leave a training behind, and the next one train beside it in one folder.
    """
    if _libc is not None:
        _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def run_to_its_end(command: Sequence[str]) -> int:
    """Run a training and return its exit code; when this process is stopped, the training first finishes its step."""
    with subprocess.Popen(command, preexec_fn=die_with_parent) as training:
        try:
            return training.wait()
        except Stopped:
            training.terminate()  # not Ctrl-C, which the terminal may have sent it as well: a second one hurries
            training.wait()
            raise
        except BaseException:
            training.kill()
            raise


def start_logged(
    line: Sequence[str], log: Path, cwd: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start `fau-mae LINE` in a session of its own; all it says is added to `log`, its command line first."""
    with open_log(log) as file:
        print("$ fau-mae", *line, file=file, flush=True)
        return subprocess.Popen(
            [sys.executable, "-m", "fau_mae.cli", *line],
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=cwd,
            # Whatever the terminal's encoding is.
            env={**environment, "PYTHONIOENCODING": "utf-8:backslashreplace"},
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
