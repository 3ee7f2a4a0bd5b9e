"""Sequences of labelled frames (`frames`) -> parts of a store, in parallel processes.

`faces.cropping` makes rows of the frames that a source reads. Each process holds a few frames at a time, so
memory does not grow with the data set.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.progress import Progress

from data_modules.errors import UserError, explain
from data_modules.facs import PRESETS
from data_modules.sources.frames import Job, Source, SourceFrame, fingerprint
from data_modules.sources.workers import MOST_PROCESSES, worker_pool
from data_modules.stores.store import FaceStore, StoreInfo
from data_modules.stores.store_writer import StoreWriter, Tally

_MOST_WORKERS = 2  # unless more are asked for: some 0.8 GB each, and the whole shall stay below 2 GB
CROP_VERSION = 4  # raise when the same options give other crops than before


def prepare_store(
    source: Source[Any],
    out: Path,
    info: StoreInfo,
    *,
    preset: str,
    min_face: int,
    workers: int | None,
    progress: bool,
) -> FaceStore:
    """Detect, align and store every frame of `source`; goes on where an interrupted call stopped.

    `min_face`: side in pixels of the smallest face looked for. `workers`: processes, by default one per core,
    two at most. Frames without a picture or a face are counted in `StoreInfo.counts` and listed in the
    store's `skipped.csv`.
    """
    if preset not in PRESETS:
        raise UserError(f"unknown crop preset {preset!r}: use one of {', '.join(PRESETS)}")
    if workers is not None and not 1 <= workers <= MOST_PROCESSES:
        raise UserError(f"workers {workers}: preparing takes 1 to {MOST_PROCESSES} processes")
    options = {
        **info.options,
        "preset": preset,
        "crop_version": CROP_VERSION,
        "detector": "blazeface and face mesh, 2023",
        "min_face": min_face,
        "opencv": version("opencv-python-headless"),
        "av": version("av"),
        "pillow": version("pillow"),
    }
    info = StoreInfo(info.dataset, info.aus, info.size, info.encoding, info.parts, options, info.counts)
    # This checks labels, too.
    states = {name: fingerprint(source.state(job)) for name, job in source.jobs.items()}
    try:
        writer = StoreWriter(Path(out), info)
        stored = {name: note.fingerprint for name, note in writer.stored().items()}
        if lost := sorted(set(stored) - set(states)):
            writer.abandon()
            raise UserError(
                f"{out} holds sequences that its source no longer has ({', '.join(lost[:3])}; {len(lost)} in "
                "all): choose another --out, or delete the store first"
            )
        waiting = [
            name
            for name, state in states.items()
            if stored.get(name) != state and not writer.is_done(name, state)
        ]
        _run_all(writer, source, waiting, states, min(workers or default_workers(), len(waiting)), progress)
        if stored == states and FaceStore(out).info.parts == info.parts:
            writer.discard()
            return FaceStore(out)
        return writer.finish(states)
    except OSError as error:
        raise explain(error, out) or error from error


def default_workers() -> int:
    """One per usable core, two at most, to stay below 2 GB."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_WORKERS)


def _run_all(
    writer: StoreWriter,
    source: Source[Any],
    names: list[str],
    states: dict[str, str],
    workers: int,
    progress: bool,
) -> None:
    with Progress(disable=not progress) as bar:
        task = bar.add_task(f"preparing {writer.info.dataset}", total=len(names))
        if workers <= 1:
            for name in names:
                write_sequence(writer, source.read, name, source.jobs[name], states[name])
                bar.advance(task)
            return
        with worker_pool(workers, _start_worker, writer, source.read) as submit:
            futures = [submit(_work, name, source.jobs[name], states[name]) for name in names]
            for future in as_completed(futures):
                future.result()
                bar.advance(task)


# In a worker: `write_sequence` for the writer and source at hand.
_worker_writes: Callable[[str, Any, str], None]


def _start_worker(writer: StoreWriter, read: Callable[[Any, Tally], Iterator[SourceFrame]]) -> None:
    """One thread per process."""
    global _worker_writes
    _worker_writes = partial(write_sequence, writer, read)
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _work(name: str, job: Any, fingerprint: str) -> None:
    _worker_writes(name, job, fingerprint)


def write_sequence(
    writer: StoreWriter,
    read: Callable[[Job, Tally], Iterator[SourceFrame]],
    name: str,
    job: Job,
    fingerprint: str,
) -> None:
    """Write the part of one sequence."""
    # Not above: the process that only hands out work needs no torch.
    from data_modules.sources.cropping import crop_rows

    tally = Tally()
    rows = crop_rows(read(job, tally), writer.info, tally)
    writer.write_part(name, rows, tally, fingerprint)
