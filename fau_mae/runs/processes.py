"""Processes that end with the one that started them."""

import ctypes
import signal
import sys

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """To be called in a child before its program starts (`preexec_fn`): on Linux it is killed when its parent is.

    Without it a killed run or sweep would leave a training behind, and the next one train beside it in one folder.
    """
    if _libc is not None:
        _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
