"""Connected to a Ray cluster, or to one of our own that ends with the block and leaves nothing behind."""

import logging
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before Ray is imported: nothing is sent anywhere

import ray

from data_modules.errors import UserError
from fau_mae.signals import STOPS

_TRIES = 4  # Ray gives itself half a minute to start, which a busy machine may not do
_LONGEST_FOLDER = 30  # bytes; Ray adds some 70


@contextmanager
def cluster(address: str | None, **own: Any) -> Iterator[None]:
    """Within the block, Ray is there.

    `address`: of a cluster ("auto": the one this machine belongs to); None = one of our own on this machine, `own`
    being what `ray.init` takes beside. Raises `UserError` where Ray does not start.
    """
    with tempfile.TemporaryDirectory(
        prefix="fau-", dir=_short_folder(), ignore_cleanup_errors=True
    ) as scratch:
        try:
            _start(address, scratch, own)
            yield
        finally:
            ray.shutdown()


def _start(address: str | None, scratch: str, own: dict[str, Any]) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    ours = {signum: signal.getsignal(signum) for signum in STOPS}
    own = {"include_dashboard": False, "object_store_memory": 100 * 2**20} | own
    for tries in range(_TRIES):
        try:
            if address is not None:
                ray.init(address, **quiet)
            else:
                with _temporary_folder(scratch), _group_of_its_own():
                    ray.init(_temp_dir=scratch, **own, **quiet)
            break
        except Exception as error:  # Ray raises plain ones, too
            said = " ".join(str(error).split())
            if "timed out during startup" not in said or tries == _TRIES - 1:
                raise UserError(f"Ray does not start: {said[:200]}") from error
    for signum, handler in ours.items():
        signal.signal(signum, handler)  # Ray sets its own, which abort


@contextmanager
def _group_of_its_own() -> Iterator[None]:
    """Processes started in the block do not get what is sent to this one's group: `timeout` and shells do that.

    Ray would end at once, and no stage could finish its step. Where this process leads its session they stay with it.
    """
    group = os.getpgrp()
    try:
        os.setpgid(0, 0)
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.setpgid(0, group)


@contextmanager
def _temporary_folder(folder: str) -> Iterator[None]:
    """For processes started in the block, and theirs: what a killed one leaves there goes with `folder`."""
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = folder
    try:
        yield
    finally:
        os.environ.pop("TMPDIR")
        if before is not None:
            os.environ["TMPDIR"] = before


def _short_folder() -> str | None:
    """For Ray's sockets, whose whole path may have 107 bytes: the temporary folder, unless its own is long."""
    usual = tempfile.gettempdir()
    return usual if len(os.fsencode(usual)) <= _LONGEST_FOLDER or not Path("/tmp").is_dir() else "/tmp"
