"""Ctrl-C and SIGTERM in every command: `Stopped` is raised wherever the command is, so that `finally`s clean up.

A training has its own way, as it first finishes the step: `fau_mae.runs.interruption`.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from data_modules.errors import Stopped

STOPS = (signal.SIGINT, signal.SIGTERM)
# Signals closer than this are one: `timeout` and job managers send to a process and to its group.
SAME_SECONDS = 1.0


@contextmanager
def raising_stopped() -> Iterator[None]:
    """Within the block, the first Ctrl-C or SIGTERM raises `Stopped` in this process; a later one ends it.

    Forked children keep what they would do without: data loaders' workers leave Ctrl-C to their parent.
    """
    if threading.current_thread() is not threading.main_thread():  # only there may handlers be set
        yield
        return
    owner, before = os.getpid(), {signum: signal.getsignal(signum) for signum in STOPS}
    first: list[float] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if os.getpid() != owner and signum == signal.SIGINT:
            raise KeyboardInterrupt
        if os.getpid() != owner or (first and now - first[0] > SAME_SECONDS):
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
        elif not first:
            first.append(now)
            raise Stopped(signum)

    _set({signum: stop for signum in STOPS if before[signum] is not signal.SIG_IGN})  # nohup's stays
    try:
        yield
    finally:
        _set(before)


def stopped_behind(error: BaseException | None) -> Stopped | None:
    """The `Stopped` that a compiled library, such as Ray, made another error of."""
    while error is not None and not isinstance(error, Stopped):
        error = error.__cause__ or error.__context__
    return error


def hold_signals() -> None:
    """Let nothing disturb the end of a process that was stopped already."""
    _set(dict.fromkeys(STOPS, signal.SIG_IGN))


def _set(handlers: dict[signal.Signals, Any]) -> None:
    for signum, handler in handlers.items():
        if handler is not None:  # None: set by what is not Python, and not to be put back by it
            signal.signal(signum, handler)
