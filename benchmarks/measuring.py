"""How the benchmarks measure: CPU time of one thread, two ways in turns, medians. Ratios travel between machines."""

import datetime
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

Work = Callable[[], object]


class Row(NamedTuple):
    """One measure beside its rival, both in the same unit."""

    measure: str
    ours: float
    rival: float
    unit: str
    goal: str

    @property
    def ratio(self) -> float:
        return self.rival / self.ours


def in_turns(*works: Work, rounds: int = 5) -> list[float]:
    """Median CPU milliseconds of each, run one after the other `rounds` times after a first, which warms up."""
    torch.set_num_threads(1)
    taken: list[list[float]] = [[] for _ in works]
    for turn in range(rounds + 1):
        for seconds, work in zip(taken, works):
            start = time.process_time()
            work()
            if turn:
                seconds.append(time.process_time() - start)
    return [1000 * statistics.median(seconds) for seconds in taken]


def command_seconds(*words: str) -> float:
    """Least CPU seconds of three calls of `fau-mae`, start of Python included."""
    found = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "fau_mae.cli", *words], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def machine() -> str:
    """Processor, cores, versions, date."""
    info = Path("/proc/cpuinfo")
    text = info.read_text("utf-8") if info.is_file() else ""
    found = re.search(r"model name\s*: (.*)", text)
    cores = len(re.findall(r"^processor\s*:", text, re.MULTILINE))
    return (
        f"{found[1] if found else platform.processor()}, {cores} cores, Python {platform.python_version()}, "
        f"torch {torch.__version__}, {datetime.date.today()}"
    )
