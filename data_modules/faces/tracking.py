"""Faces from frame to frame of a video: looked for now and then, followed in between, each under its own number."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from data_modules.faces.alignment import Face
from data_modules.faces.detection import FaceDetector

_EVERY = 10  # frames from one search of the whole picture to the next
_AGAIN = 3  # the same while a face is gone that was here
_APART = 0.25  # of the box's side: faces nearer to each other are one
_PATIENCE = 60  # frames that a face may be gone and still be known by its place
_NEAR = 0.5  # of its box's side: so far it may go from one frame to the next, or while it is gone


@dataclass
class _Track:
    face: Face
    seen: int  # frame


class FaceTracker:
    """The faces of the frames of one video, which come in order; the `track` of a face is its number, from 1.

    A face that is followed costs one look. The whole picture is searched in the first frame, every ten frames, where a
    face is lost, and every three frames while one is gone. One that is found again near its last place keeps its
    number; `gaps` then says which, the last frame it was seen in and the one it came back in.
    """

    def __init__(self, detector: FaceDetector):
        self._detector = detector
        self._tracks: dict[int, _Track] = {}
        self._searched = self._before = -_EVERY
        self.gaps: list[tuple[int, int, int]] = []

    def track(self, image: np.ndarray, frame: int) -> list[Face]:
        """The faces of a frame, uint8 RGB (H, W, 3), by number."""
        found: dict[int, Face] = {}
        lost = False
        for number, track in self._tracks.items():
            if track.seen != self._before:
                continue  # gone: only a search finds it again
            face = self._detector.follow(image, track.face)
            if face is None or _moved(face, track.face) > _NEAR or _taken(face, found.values()):
                lost = True
            else:
                found[number] = face
        away = (track for number, track in self._tracks.items() if number not in found)
        gone = any(frame - track.seen <= _PATIENCE for track in away)
        if lost or not found or frame - self._searched >= (_AGAIN if gone else _EVERY):
            self._searched = frame
            for face in self._detector.find(image, list(found.values())):
                found[self._number(face, found, frame)] = face
        for number, face in found.items():
            known = self._tracks.get(number)
            if known and known.seen != self._before:
                self.gaps.append((number, known.seen, frame))
            self._tracks[number] = _Track(face, frame)
        self._before = frame
        return [face._replace(track=number) for number, face in sorted(found.items())]

    def _number(self, face: Face, found: dict[int, Face], frame: int) -> int:
        """That of a face which was here not long ago, else a new one."""
        near = {
            number: _moved(face, track.face)
            for number, track in self._tracks.items()
            if number not in found and frame - track.seen <= _PATIENCE
        }
        nearest = min(near, key=lambda number: near[number], default=0)
        if nearest and near[nearest] <= _NEAR:
            return nearest
        return max([*self._tracks, *found], default=0) + 1


def _moved(face: Face, before: Face) -> float:
    """How far the middle of the box went, in sides of the box before."""
    way = (face.box[:2] + face.box[2:] - before.box[:2] - before.box[2:]) / 2
    return float(np.linalg.norm(way)) / max(before.area, 1e-6) ** 0.5


def _taken(face: Face, others: Iterable[Face]) -> bool:
    """Whether one of the others is at its place: two followed ones must not become one."""
    return any(_moved(face, other) < _APART for other in others)
