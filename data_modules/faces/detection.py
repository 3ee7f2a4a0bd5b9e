"""Finding faces in pictures, covered ones among them: places by BlazeFace, looked at closely by the face mesh.

Pixel convention: coordinates are those of OpenCV, pixel centres at whole numbers; boxes are x0, y0, x1, y1.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import cv2
import numpy as np

from data_modules.faces.alignment import Face, face_from_landmarks, warp
from data_modules.faces.face_nets import WINDOW, FinderNet, MeshNet
from data_modules.faces.mesh import five_points_of_mesh, mesh_square, window_matrix

Frame = TypeVar("Frame")

_COARSEST = 128  # pixels of the longer side of the picture in which the largest faces are found
_SMALLEST = 20  # pixels of the smallest face that the finder net sees
# A place is a face where the finder net's logit and this much of the mesh net's are at least so much together: set on
# drawn occlusions and on pictures without a face. The mesh net knows fewer covered faces than the finder net.
_WEIGHT, _ENOUGH = 0.1, 0.9
_MOST_LOGIT = 9.0  # either way
_LIKELY = 0.5  # what the finder net must say for that
_FOLLOWED = 0.5  # least probability, by the mesh net, of a face that was there the frame before
_ENLARGE = 1.5  # the mesh net's window, in sides of the face
_ONE = 0.4  # common share of the smaller of two proposed boxes from which both are one place
_SAME = 0.5  # common share of the smaller of two boxes from which both are one face
_CHUNK = 8  # pictures at once: bounds memory
_CHUNK_PIXELS = 32_000_000
_LONGEST = 2048  # pixels of the longer side; a larger picture is shrunk for the search, which bounds memory


def in_chunks(
    frames: Iterable[Frame], image_of: Callable[[Frame], np.ndarray | None]
) -> Iterator[list[Frame]]:
    """Few frames at a time, and fewer where their pictures (H, W, 3) are large: what is in memory at once."""
    chunk: list[Frame] = []
    pixels = 0
    for frame in frames:
        image = image_of(frame)
        own = 0 if image is None else image.shape[0] * image.shape[1]
        if chunk and (len(chunk) == _CHUNK or pixels + own > _CHUNK_PIXELS):
            yield chunk
            chunk, pixels = [], 0
        chunk.append(frame)
        pixels += own
    if chunk:
        yield chunk


class FaceDetector:
    """Boxes, scores and five points of the faces in a picture.

    The finder net proposes places at several sizes of the picture; the mesh net looks at each; where both together
    say that there is a face, it looks again, framed by what it saw, and its 478 points, those of hidden parts too,
    say where the five points are. A face's score is what both nets say, of one that is followed what the mesh net says.
    `min_face`: side in pixels of the smallest face looked for; time falls with its square. Runs on the CPU.
    """

    def __init__(self, min_face: int = 40):
        self.min_face = min_face
        self._finder, self._mesh = FinderNet(), MeshNet()

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        """Faces of each uint8 RGB picture (H, W, 3), surest first."""
        return [self.find(image) for image in images]

    def find(self, image: np.ndarray, known: Sequence[Face] = ()) -> list[Face]:
        """Faces of one picture (H, W, 3), surest first, but for those at the places of `known` ones."""
        scale = min(1.0, _LONGEST / max(image.shape[:2]))
        small = _resized(image, scale) if scale < 1 else image
        taken = [_scaled(face, scale) for face in known]
        found: list[Face] = []
        for likely, place in self._propose(small):
            box = np.concatenate([place[0] - place[1] / 2, place[0] + place[1] / 2])
            if any(_overlap_of_smaller(box, face.box) > _SAME for face in taken):
                continue
            first = self._look(small, window_matrix(place[0], _ENLARGE * place[1].max(), place[3] - place[2]))
            evidence = _logit(likely) + _WEIGHT * _logit(first.score)
            if evidence < _ENOUGH:
                continue
            face = self._look(small, _framing(first))._replace(score=_probability(evidence))
            if any(_overlap_of_smaller(face.box, other.box) > _SAME for other in taken):
                continue
            taken.append(face)
            found.append(_scaled(face, 1 / scale))
        return sorted(found, key=lambda face: -face.score)

    def follow(self, image: np.ndarray, face: Face) -> Face | None:
        """A face of the frame before where it is in this one; None where it is not seen there any more."""
        now = self._look(image, _framing(face))
        return now if now.score >= _FOLLOWED else None

    def _look(self, image: np.ndarray, matrix: np.ndarray) -> Face:
        """The face in a window of the picture, given by the 2×3 matrix to its pixels."""
        score, points = self._mesh(warp(image, matrix, WINDOW))
        back = cv2.invertAffineTransform(matrix)
        mesh = points @ back[:, :2].T + back[:, 2]
        return face_from_landmarks(five_points_of_mesh(mesh))._replace(
            score=score, mesh=mesh.astype(np.float32)
        )

    def _propose(self, image: np.ndarray) -> list[tuple[float, np.ndarray]]:
        """Scores and places (8, 2), see `FinderNet`, of what may be faces, likeliest first, each once."""
        finest = min(1.0, _SMALLEST / self.min_face)
        scale = min(finest, _COARSEST / max(image.shape[:2]))
        scores, places = [], []
        while True:
            small = _resized(image, scale)
            score, place = self._finder(small)
            by = np.array(image.shape[1::-1]) / small.shape[1::-1]
            place[:, 1] *= by
            place[:, [0, *range(2, 8)]] = (place[:, [0, *range(2, 8)]] + 0.5) * by - 0.5
            scores.append(score[score >= _LIKELY])
            places.append(place[score >= _LIKELY])
            if scale >= finest:
                return _merged(np.concatenate(scores), np.concatenate(places))
            scale = min(2 * scale, finest)


def _logit(probability: float) -> float:
    return float(
        np.clip(np.log(max(probability, 1e-9) / max(1 - probability, 1e-9)), -_MOST_LOGIT, _MOST_LOGIT)
    )


def _probability(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def _framing(face: Face) -> np.ndarray:
    """The 2×3 matrix to the window around the mesh of a face."""
    assert face.mesh is not None
    return window_matrix(*mesh_square(face.mesh, _ENLARGE))


def _merged(scores: np.ndarray, places: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Places that show one face made one, each counting by its score."""
    boxes = np.concatenate([places[:, 0] - places[:, 1] / 2, places[:, 0] + places[:, 1] / 2], 1)
    left = np.argsort(-scores)
    merged = []
    while len(left):
        first = boxes[left[0]]
        shared = np.array([_overlap_of_smaller(first, boxes[index]) for index in left])
        one = left[shared > _ONE]
        weights = scores[one] / scores[one].sum()
        merged.append((float(scores[one[0]]), np.tensordot(weights, places[one], 1)))
        left = left[shared <= _ONE]
    return merged


def _resized(image: np.ndarray, scale: float) -> np.ndarray:
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _scaled(face: Face, scale: float) -> Face:
    """The face in the picture made `scale` times as large."""
    if scale == 1.0:
        return face
    mesh = None if face.mesh is None else (face.mesh + 0.5) * scale - 0.5
    return face._replace(box=face.box * scale, points=(face.points + 0.5) * scale - 0.5, mesh=mesh)


def _overlap_of_smaller(a: np.ndarray, b: np.ndarray) -> float:
    """Common area of two boxes as a share of the smaller one: 1 when one lies inside the other."""
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    return float(np.prod(sides)) / max(float(min(np.prod(a[2:] - a[:2]), np.prod(b[2:] - b[:2]))), 1e-6)
