"""What a source of real faces hands in: its sequences, one job each, and the labelled frames of a job."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from data_modules.stores.store_writer import Tally

Job = TypeVar("Job")


@dataclass(frozen=True)
class SourceFrame:
    """One labelled frame of a source; `image` None when the source has the label but not the picture."""

    image: np.ndarray | None  # uint8 RGB (H, W, 3)
    subject: str
    task: str
    frame: int  # as the source numbers it
    labels: Sequence[int]  # (A,) 1, 0, -1 unknown
    intensity: Sequence[float]  # (A,) 0-5, NaN unknown
    source: str  # path relative to the root of the source
    source_hash: str = ""  # see `files.file_hash`
    missing: str = "picture missing"  # why `image` is None
    landmarks: np.ndarray | None = None  # (P, 2) in pixels of `image`, where the source has them


@dataclass(frozen=True)
class Source(Generic[Job]):
    """A data set on disk: its sequences by name and how the frames of one are read (in another process).

    `state` gives, as JSON can hold it, all that the rows of a sequence depend on: its labels, the names,
    sizes and times of its files. A sequence of which it has changed is done again.
    """

    jobs: dict[str, Job]
    read: Callable[[Job, Tally], Iterator[SourceFrame]]
    state: Callable[[Job], object]


def whole_number(text: str) -> int:
    """`" 12 "` -> 12; `ValueError` for all that is not plain digits, such as `1_2`, which Python takes for 12."""
    if not re.fullmatch(r"\s*-?[0-9]+\s*", text):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def fingerprint(state: object) -> str:
    """A hash of what `Source.state` says."""
    return hashlib.blake2b(json.dumps(state, sort_keys=True).encode(), digest_size=16).hexdigest()


def files_state(root: Path, paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name, bytes and time of change (ns) of files, -1 for a missing one: what `Source.state` says of media.

    The time, for a picture may be replaced by one of equal size.
    """
    return [(path.relative_to(root).as_posix(), *_size_and_time(path)) for path in paths]


def _size_and_time(path: Path) -> tuple[int, int]:
    if not path.is_file():
        return -1, -1
    status = path.stat()
    return status.st_size, status.st_mtime_ns
