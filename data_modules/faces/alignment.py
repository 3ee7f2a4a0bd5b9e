"""Cutting faces out the same way every time, once it is known where they are (`detection`).

Pixel convention: coordinates are those of OpenCV, pixel centres at whole numbers; boxes are x0, y0, x1, y1.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from data_modules.errors import UserError
from data_modules.facs import CANONICAL_POINTS, PRESETS
from data_modules.landmarks import five_points

# Eyes, nose tip and mouth corners in the 112-pixel square crop that is used with MTCNN.
_MTCNN_TEMPLATE = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)


class Face(NamedTuple):
    """One detected face, in pixels of the picture."""

    box: np.ndarray  # (4,) x0, y0, x1, y1
    score: float  # 0..1
    points: np.ndarray  # (5, 2) x, y: the viewer's left eye, right eye, nose tip, left and right mouth corner
    mesh: np.ndarray | None = None  # (478, 2), where the finder saw it
    track: int = 0  # the face's number in a video, from 1; 0 where it is not followed

    @property
    def area(self) -> float:
        x0, y0, x1, y1 = self.box
        return float(max(x1 - x0, 0) * max(y1 - y0, 0))


# What MTCNN finds on rendered faces of all poses, in fractions of the canonical crop: the median of 86, made symmetric.
MEAN_FACE = Face(
    np.array([0.169, 0.027, 0.831, 0.926]),
    1.0,
    np.array([[0.353, 0.375], [0.647, 0.375], [0.5, 0.576], [0.378, 0.72], [0.622, 0.72]]),
)


def face_from_landmarks(landmarks: np.ndarray) -> Face:
    """The face that a data set's own landmarks (P, 2) describe: its five points, and the box of `MEAN_FACE` on them.

    So the box is like a detector's, whatever the layout; that of the points would leave out the forehead, and of five
    points most of the face. Raises `UserError` for landmarks of no known layout.
    """
    points = five_points(landmarks)
    matrix = similarity(MEAN_FACE.points, points)
    middle = matrix[:, :2] @ (MEAN_FACE.box[:2] + MEAN_FACE.box[2:]) / 2 + matrix[:, 2]
    half = np.hypot(*matrix[:, 0]) * (MEAN_FACE.box[2:] - MEAN_FACE.box[:2]) / 2
    box = np.concatenate([middle - half, middle + half])
    return Face(box.astype(np.float32), 1.0, points.astype(np.float32))


def choose_face(faces: Sequence[Face], last: Face | None = None) -> Face | None:
    """The face to follow: the one nearest `last`, the face of the frame before; else the largest."""
    if not faces:
        return None
    if last is None:
        return max(faces, key=lambda face: face.area)
    centre = last.points.mean(0)
    return min(faces, key=lambda face: float(np.linalg.norm(face.points.mean(0) - centre)))


def align(image: np.ndarray, face: Face, size: int, preset: str = "canonical") -> np.ndarray:
    """Cut a face out: uint8 RGB (H, W, 3) -> uint8 RGB (size, size, 3). Black where the picture ends.

    `preset`: one of `PRESETS`, see `crop_matrix`.
    """
    return warp(image, crop_matrix(face, size, preset), size)


def crop_matrix(face: Face, size: int, preset: str = "canonical") -> np.ndarray:
    """The 2×3 similarity from the pixels of the picture to those of the crop.

    - `canonical`: the five points as near as possible to `facs.CANONICAL_POINTS` (least squares).
    - `me_graphau` (Luo et al., 2022): five points to 256², of which the middle 224² are seen. The paper
      does not print the template; this is the square one that comes with MTCNN pipelines.
    - `jaa_net` (Shao et al., 2018): eyes level; a square around the middle of the five points' bounding box,
      2.9 times as wide as its longer side. Published at 200².
    - `fmae` (Ning et al., 2024): the detector's box with 5 % more on each side, made square, no rotation.
    """
    if preset not in PRESETS:
        raise UserError(f"unknown crop preset {preset!r}: use one of {', '.join(PRESETS)}")
    points = np.asarray(face.points, np.float64)
    if preset == "canonical":
        return similarity(points, np.asarray(CANONICAL_POINTS) * size - 0.5)
    if preset == "me_graphau":
        centred = (np.asarray(_MTCNN_TEMPLATE) / 112 - 0.5) * 256 / 224 + 0.5
        return similarity(points, centred * size - 0.5)
    if preset == "jaa_net":
        return _level_square(points, 2.9, size)
    x0, y0, x1, y1 = np.asarray(face.box, np.float64)
    scale = size / (1.1 * max(x1 - x0, y1 - y0))
    shift = (size - 1) / 2 - scale * np.array([x0 + x1 - 1, y0 + y1 - 1]) / 2
    return np.column_stack([scale * np.eye(2), shift])


def _level_square(points: np.ndarray, enlarge: float, size: int) -> np.ndarray:
    """Turn until the eyes are level, then cut a square `enlarge` times the points' longer extent."""
    across = points[1] - points[0]
    cosine, sine = across / np.linalg.norm(across)
    turn = np.array([[cosine, sine], [-sine, cosine]])
    level = points @ turn.T
    low, high = level.min(0), level.max(0)
    scale = (size - 1) / (enlarge * (high - low).max())
    return np.column_stack([scale * turn, (size - 1) / 2 - scale * (low + high) / 2])


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least-squares rotation, scale and shift (P, 2) -> (P, 2), 2×3, never mirrored (Umeyama, 1991)."""
    a, b = source - source.mean(0), target - target.mean(0)
    spread = (a**2).sum()
    cosine = (a * b).sum() / spread
    sine = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / spread
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([turn, target.mean(0) - turn @ source.mean(0)])


def warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Resample `image` by a 2×3 similarity into (size, size, 3); averages where it shrinks the face."""
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.75:
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        ratio = np.array([image.shape[1] / small.shape[1], image.shape[0] / small.shape[0]])
        shift = matrix[:, :2] @ (ratio / 2 - 0.5) + matrix[:, 2]
        image, matrix = small, np.column_stack([matrix[:, :2] * ratio, shift])
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
