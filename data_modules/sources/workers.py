"""Processes that share out the sequences of a data set: they end with the one that started them, without a word.

with worker_pool(4, start, argument) as submit:
    for future in as_completed([submit(work, job) for job in jobs]):
        future.result()
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from data_modules.errors import UserError

MOST_PROCESSES = 1024  # that anybody may ask for
_LEFT_TO_THE_PARENT = {signal.SIGINT, signal.SIGTERM}
Submit = Callable[..., Future[Any]]


@contextmanager
def worker_pool(workers: int, start: Callable[..., None], *arguments: Any) -> Iterator[Submit]:
    """A pool of `workers` processes, each begun by `start(*arguments)`; its `submit`, to be called on the main thread.

    Whatever ends the block early ends the processes at once: what they were at is done again another time. Ctrl-C
    and SIGTERM reach this process alone, even when they are sent to all. Raises `UserError` when a process was
    killed, as for want of memory.
    """
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")  # forking a process that holds torch's threads can hang
    with ProcessPoolExecutor(workers, context, _begin, (start, *arguments)) as pool:

        def submit(work: Callable[..., Any], *job: Any) -> Future[Any]:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, _LEFT_TO_THE_PARENT)
            try:
                return pool.submit(work, *job)  # the first one starts the processes, which inherit the mask
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)

        try:
            yield submit
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in set(multiprocessing.active_children()) - others:
                child.kill()
            if isinstance(error, BrokenProcessPool):
                raise UserError(
                    "a worker process was killed, perhaps for want of memory: the same command with fewer "
                    "--workers goes on"
                ) from error
            raise


def _begin(start: Callable[..., None], *arguments: Any) -> None:
    """No life after the parent's: a killed run must not go on writing."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    start(*arguments)
