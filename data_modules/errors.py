"""What the command line turns into one line and an exit code: a user's mistake, a signal, and errors of the disk."""

import errno
import os
import re
import signal
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FREE_SPACE = "free some space, then run the same command again"
_ANOTHER_PLACE = "choose another place, or get the right to it"
_ADVICE = {
    errno.ENOSPC: _FREE_SPACE,
    errno.EDQUOT: _FREE_SPACE,
    errno.EFBIG: f"allow larger files, or {_FREE_SPACE}",
    errno.EROFS: "choose a place that can be written",
    errno.EACCES: _ANOTHER_PLACE,
    errno.EPERM: _ANOTHER_PLACE,
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EISDIR: "name a file",
    errno.ENOTDIR: "a part of the path is a file; choose another place",
    errno.ENOENT: "check the name",
    errno.ELOOP: "its links lead back to themselves; mend them",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.EIO: "the disk reports a fault; choose another one",
}
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # what ends a line, or speaks to the terminal
PART = ".part"  # ends the names that files.py gives to what is being written


class UserError(Exception):
    """Wrong use or bad input. The message is one line: what is wrong, where, and what to do. Exit code 2."""


class Stopped(BaseException):
    """A signal asked this process to stop. Exit code 128 + signal, as shells have it. `except Exception` lets it by."""

    def __init__(self, signum: int):
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.exit_code = 128 + signum


def explain(error: BaseException, path: Path | str | None = None, out: str | None = None) -> UserError | None:
    """The line that tells a user of an error of the disk, or None where `error` is of another kind.

    An `OSError` is told as what it is. Libraries wrap a full disk into errors of their own, so that one is looked for
    among the causes, too. `path`: what was being written, where the error itself does not say. `out`: the output of the
    whole command, named where nobody says which file has no room.
    """
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, OSError) and (cause is error or cause.errno in _FULL)):
        cause = cause.__cause__ or cause.__context__
    if not isinstance(cause, OSError):
        return None
    named = cause.filename
    where = path if named is None or (path is not None and PART in str(named)) else named
    if where is None and cause.errno in (*_FULL, errno.EROFS):
        where = out
    reason = (os.strerror(cause.errno) if cause.errno else "") or " ".join(str(cause).split())
    line = reason or type(cause).__name__
    if where is not None:
        line = f"{shown(where)}: {line}"
    return UserError(f"{line}; {_ADVICE[cause.errno]}" if cause.errno in _ADVICE else line)


def shown(name: object) -> str:
    """A path or name as text that every file and terminal takes, in one line; bytes that are no UTF-8 as `\\xff`."""
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    data = str(name).encode("utf-8", "surrogateescape")
    return _CONTROLS.sub(lambda found: repr(found[0])[1:-1], data.decode("utf-8", "backslashreplace"))
