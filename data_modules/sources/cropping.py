"""Labelled frames -> rows of a store: the face is found, followed, cut out and encoded.

Runs in the worker processes of `stores.preparing`, which alone hold torch.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import numpy as np

from data_modules.faces.alignment import Face, choose_face, crop_matrix, face_from_landmarks, warp
from data_modules.faces.detection import FaceDetector
from data_modules.faces.tracking import FaceTracker
from data_modules.sources.frames import SourceFrame
from data_modules.stores.store import StoreInfo, encode_image, sample_id
from data_modules.stores.store_writer import Tally


def crop_rows(frames: Iterable[SourceFrame], info: StoreInfo, tally: Tally) -> Iterator[dict[str, Any]]:
    """Labelled frames of one sequence -> rows of the store. The face is followed from frame to frame.

    A frame's own landmarks, where it has some, say where the face is; else it is found.
    """
    last: Face | None = None
    source, tracker = "", FaceTracker(_detector(info.options["min_face"]))
    for frame in frames:
        tally.counts["frames"] += 1
        if frame.image is None:
            tally.skip(frame.source, frame.frame, frame.missing)
            continue
        tally.see(frame.image.shape[1], frame.image.shape[0], frame.frame)
        if frame.landmarks is not None:
            face: Face | None = face_from_landmarks(frame.landmarks)
            tally.counts["faces from landmarks"] += 1
        else:
            if frame.source != source:
                # Another video, or a picture, which may show the face elsewhere.
                source, tracker = frame.source, FaceTracker(_detector(info.options["min_face"]))
            faces = tracker.track(frame.image, frame.frame)
            tally.counts["several faces"] += len(faces) > 1
            face = choose_face(faces, last)
        if face is None:
            tally.skip(frame.source, frame.frame, "no face found")
            continue
        last = face
        yield _row(frame, face, info)


@cache
def _detector(min_face: int) -> FaceDetector:
    return FaceDetector(min_face=min_face)


def _row(frame: SourceFrame, face: Face, info: StoreInfo) -> dict[str, Any]:
    assert frame.image is not None
    matrix = crop_matrix(face, info.size, info.options["preset"])
    crop = warp(frame.image, matrix, info.size)
    points = face.points if frame.landmarks is None else frame.landmarks
    points = points @ matrix[:, :2].T + matrix[:, 2]  # (P, 2) in the crop
    return {
        "sample_id": sample_id(info.dataset, frame.subject, frame.task, frame.frame),
        "image": encode_image(crop, info.encoding),
        "subject": frame.subject,
        "task": frame.task,
        "frame": frame.frame,
        "labels": list(frame.labels),
        "intensity": list(frame.intensity),
        "landmarks": points.astype(np.float32).ravel().tolist(),
        "box": face.box.tolist(),
        "source": frame.source,
        "source_hash": frame.source_hash,
    }
