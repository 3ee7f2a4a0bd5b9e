"""One command at a time on one output: a lock that ends with its owner, however that ends.

with locked(out): …                the second command is refused, by the name of the first
with locked(out, wait=True): …     the second command waits

The lock is the kernel's, on a file `.NAME.lock` beside the output, which goes away with it. After SIGKILL or a power
cut the empty file may stay; it locks nothing. Where files cannot be locked, or not be made, there is no lock.
"""

import errno
import fcntl
import hashlib
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from data_modules.errors import UserError

_OTHERS = (errno.EAGAIN, errno.EACCES)  # what `lockf` says where another process holds the lock
_LONGEST_NAME = 200  # bytes; a file's own name may have 255
_held: set[Path] = set()


@contextmanager
def locked(out: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold `out`, a file or folder that need not be there yet, for this process alone.

    A process that holds it already just goes on. Folders that were made for the lock's file and are still empty
    are removed afterwards. Raises `UserError` when another process holds it, unless `wait`.
    """
    path = _lock_path(Path(out))
    if path is None or path in _held:
        yield
        return
    made = _make_folders(path.parent)
    try:
        descriptor = _acquire(path, Path(out), wait)
        try:
            if descriptor is not None:
                _held.add(path)
            yield
        finally:
            if descriptor is not None:
                _held.discard(path)
                with suppress(OSError):
                    path.unlink()  # before it is let go: who waits for this file looks for its successor
                os.close(descriptor)
    finally:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()


def _lock_path(out: Path) -> Path | None:
    """`.NAME.lock` beside an output, or inside it where its folder takes no files; None for a device."""
    out = Path(os.path.realpath(out))
    if out.exists() and not (out.is_dir() or out.is_file()):
        return None
    name = out.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.blake2b(os.fsencode(name), digest_size=16).hexdigest()
    beside = out.with_name(f".{name}.lock") if out.name else out / ".lock"
    if out.is_dir() and not os.access(out.parent, os.W_OK):
        return out / ".lock"
    return beside


def _make_folders(folder: Path) -> list[Path]:
    """Make a folder and those above it; returns what was made, the deepest first."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    made: list[Path] = []
    for path in reversed(missing):
        try:
            path.mkdir()
        except OSError:  # another process was first, or the command's own attempt will say what is wrong
            break
        made.insert(0, path)
    return made


def _acquire(path: Path, out: Path, wait: bool) -> int | None:
    """The descriptor of the locked file; None where there can be none."""
    waited = False
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError:
            return None
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(descriptor, 500).decode(errors="replace").strip()
            os.close(descriptor)
            if error.errno not in _OTHERS:
                return None
            if not wait:
                raise UserError(
                    f"{out} is being written by another command ({owner or 'just starting'}): wait until it has "
                    "ended, or use another --out"
                ) from None
            if not waited:
                print(f"waiting for {out}, which another command is writing ({owner})", flush=True)
                waited = True
            time.sleep(0.5)
            continue
        if _is_at(descriptor, path):
            with suppress(OSError):  # a full disk: it is locked all the same, only nobody is told by whom
                os.truncate(descriptor, 0)
                os.write(descriptor, f"{_command()}, process {os.getpid()} on {platform.node()}".encode())
            return descriptor
        os.close(descriptor)  # its owner removed it meanwhile: the next one has to be locked


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _command() -> str:
    """What this process does, as short as one knows it again."""
    return " ".join(["fau-mae", *sys.argv[1:]])[:200]
