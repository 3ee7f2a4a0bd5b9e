"""A disk that is full, read-only or over its quota from the n-th file on, for this process and one folder."""

import errno
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WAYS = ("ENOSPC", "EDQUOT", "EROFS", "no room")
_CREATES = os.O_CREAT | os.O_TRUNC


class Disk:
    """Counts the files and folders that are made in `folder`; from number `at` on none can be.

    way: an errno's name; or `no room`: files can be made, but no byte goes into any, whichever library writes it.
    """

    def __init__(self, folder: Path, at: int, way: str):
        self.folder, self.at, self.way = os.path.realpath(folder), at, way
        self.made = 0

    @property
    def was_full(self) -> bool:
        return self.made >= self.at

    def hear(self, event: str, arguments: tuple) -> None:
        """An audit event of Python: raises what the system would."""
        if event == "open":
            path, mode, flags = arguments
            if isinstance(path, int) or not (flags & _CREATES or set(mode or "") & set("wax")):
                return
        elif event == "os.mkdir" or (event == "os.rename" and self.way == "EROFS"):
            path = arguments[-3 if event == "os.rename" else 0]
        else:
            return
        if not str(Path.cwd() / os.fsdecode(path)).startswith(self.folder):
            return
        self.made += 1
        if not self.was_full:
            return
        if self.way == "no room":
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        else:
            number = getattr(errno, self.way)
            raise OSError(number, os.strerror(number), os.fsdecode(path))


_disks: list[Disk] = []


def _hear(event: str, arguments: tuple) -> None:
    for disk in _disks:
        disk.hear(event, arguments)


@contextmanager
def full_disk(folder: Path, at: int, way: str) -> Iterator[Disk]:
    """`folder` lies on a full disk within the block, once `at` files and folders have been begun there."""
    if not hasattr(_hear, "added"):
        sys.addaudithook(_hear)  # for good: Python takes none back
        _hear.added = True  # type: ignore[attr-defined]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    _disks.append(disk := Disk(folder, at, way))
    try:
        yield disk
    finally:
        _disks.remove(disk)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
