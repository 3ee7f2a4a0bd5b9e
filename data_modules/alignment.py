"""Finding faces in pictures and cutting them out the same way every time.

Pixel convention: coordinates are those of OpenCV, pixel centres at whole numbers; boxes are x0, y0, x1, y1.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import batched_nms, roi_align

from data_modules.errors import UserError
from data_modules.facs import CANONICAL_POINTS
from data_modules.mtcnn import load_mtcnn
from data_modules.occlusion.placement import five_points

_PYRAMID_STEP = 0.709  # about half the area from level to level, as published
_WINDOW, _STRIDE = 12, 2  # of the proposal net
_FINEST = 48  # pixels of the output net's window: what it sees of a face, however large
_CHUNK = 8  # pictures at once: bounds memory
_LONGEST = 2048  # pixels of the longer side; a larger picture is shrunk for the search, which bounds memory

PRESETS = ("canonical", "me_graphau", "jaa_net", "fmae")
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

    @property
    def area(self) -> float:
        x0, y0, x1, y1 = self.box
        return float(max(x1 - x0, 0) * max(y1 - y0, 0))


def face_from_landmarks(landmarks: np.ndarray) -> Face:
    """The face that a data set's own landmarks (P, 2) describe: their bounding box and their five points.

    P is 5, 49, 51, 66 or 68, in iBUG order. Raises `UserError` for another number.
    """
    box = np.concatenate([landmarks.min(0), landmarks.max(0)]).astype(np.float32)
    return Face(box, 1.0, five_points(landmarks, 1, 1).astype(np.float32))


class FaceDetector:
    """MTCNN in torch: boxes, scores and five points of the faces in a picture.

    `min_face`: side in pixels of the smallest face looked for; time falls with its square. `thresholds`:
    least probability after each of the three nets. Source: Zhang et al., 2016.
    """

    def __init__(
        self,
        device: str | torch.device = "cpu",
        min_face: int = 40,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.8),
    ):
        self.device, self.min_face, self.thresholds = torch.device(device), min_face, thresholds
        self.pnet, self.rnet, self.onet = (net.to(self.device) for net in load_mtcnn())

    @torch.inference_mode()
    def detect(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        """Faces of each uint8 RGB picture (H, W, 3), surest first. Pictures of one shape share batches."""
        found: list[list[Face]] = [[] for _ in images]
        by_shape: dict[tuple[int, ...], list[int]] = {}
        images, shrunk = (
            zip(*(_shrink(image, self.min_face) for image in images)) if len(images) else ((), ())
        )
        for index, image in enumerate(images):
            by_shape.setdefault(image.shape, []).append(index)
        for indices in by_shape.values():
            for start in range(0, len(indices), _CHUNK):
                chunk = indices[start : start + _CHUNK]
                with _one_thread():
                    per_image = self._detect_same_shape([images[i] for i in chunk])
                for index, faces in zip(chunk, per_image):
                    found[index] = [_enlarged(face, shrunk[index]) for face in faces]
        return found

    def _detect_same_shape(self, images: list[np.ndarray]) -> list[list[Face]]:
        batch = torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2)  # (B, 3, H, W)
        batch = (batch.float() - 127.5) / 128
        boxes, owner = self._propose(batch)
        boxes, owner = self._refine(batch, boxes, owner)
        return self._finish(batch, boxes, owner)

    def _propose(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) -> square boxes (M, 4) and the picture that each lies in (M,)."""
        found = []
        height, width = batch.shape[2:]
        scale = _WINDOW / min(self.min_face, _FINEST)
        while min(height, width) * scale >= _WINDOW:
            size = (int(np.ceil(height * scale)), int(np.ceil(width * scale)))
            level = F.interpolate(batch, size, mode="bilinear", antialias=True, align_corners=False)
            offsets, score = self.pnet(level)
            owner, y, x = (score > self.thresholds[0]).nonzero(as_tuple=True)
            corner = torch.stack([x, y, x, y], 1) * _STRIDE + torch.tensor([0, 0, _WINDOW, _WINDOW]).to(x)
            boxes = (corner + offsets[owner, :, y, x] * _WINDOW) / scale
            keep = batched_nms(boxes, score[owner, y, x], owner, 0.5)
            found.append((boxes[keep], score[owner, y, x][keep], owner[keep]))
            scale *= _PYRAMID_STEP
        if not found:
            return batch.new_zeros(0, 4), torch.zeros(0, dtype=torch.int64, device=batch.device)
        boxes, score, owner = (torch.cat(column) for column in zip(*found))
        keep = batched_nms(boxes, score, owner, 0.7)
        return _square(boxes[keep]), owner[keep]

    def _refine(self, batch: Tensor, boxes: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
        if not len(boxes):
            return boxes, owner
        offsets, score = self.rnet(_windows(batch, boxes, owner, 24))
        keep = score > self.thresholds[1]
        boxes, score, owner = _moved(boxes, offsets)[keep], score[keep], owner[keep]
        keep = batched_nms(boxes, score, owner, 0.7)
        return _square(boxes[keep]), owner[keep]

    def _finish(self, batch: Tensor, boxes: Tensor, owner: Tensor) -> list[list[Face]]:
        faces: list[list[Face]] = [[] for _ in batch]
        if not len(boxes):
            return faces
        offsets, points, score = self.onet(_windows(batch, boxes, owner, 48))
        sides = (boxes[:, 2:] - boxes[:, :2])[:, None]  # (M, 1, 2)
        points = boxes[:, None, :2] + points * sides - 0.5  # window edges -> pixel centres
        boxes = _moved(boxes, offsets)
        order = score.argsort(descending=True)
        for i in order[score[order] > self.thresholds[2]].tolist():
            face = Face(boxes[i].cpu().numpy(), float(score[i]), points[i].cpu().numpy())
            if all(_overlap_of_smaller(face, other) <= 0.7 for other in faces[int(owner[i])]):
                faces[int(owner[i])].append(face)
        return faces


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

    - `canonical`: the five points as near as possible to `facs.CANONICAL_POINTS` (least squares). The face
      regions of `facs` hold in this crop only.
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


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums over several threads differ in the last digit with their number; crops must not."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _shrink(image: np.ndarray, min_face: int) -> tuple[np.ndarray, float]:
    """The picture as small as the search allows, and its new size as a share of the old.

    The longer side is at most `_LONGEST`, and the smallest face looked for no larger than the nets look at it.
    """
    scale = min(1.0, _LONGEST / max(image.shape[:2]), _FINEST / min_face)
    if scale == 1.0:
        return image, scale
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), scale


def _enlarged(face: Face, scale: float) -> Face:
    if scale == 1.0:
        return face
    return Face(face.box / scale, face.score, (face.points + 0.5) / scale - 0.5)


def _windows(batch: Tensor, boxes: Tensor, owner: Tensor, side: int) -> Tensor:
    """Boxes (M, 4) in the pictures `owner` (M,) -> (M, 3, side, side), pixels averaged; grey outside."""
    rois = torch.cat([owner[:, None].to(boxes), boxes], 1)
    return roi_align(batch, rois, side, sampling_ratio=-1, aligned=True)


def _moved(boxes: Tensor, offsets: Tensor) -> Tensor:
    sides = boxes[:, 2:] - boxes[:, :2]
    return boxes + offsets * sides.repeat(1, 2)


def _square(boxes: Tensor) -> Tensor:
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True) / 2
    return torch.cat([centre - half, centre + half], 1)


def _overlap_of_smaller(a: Face, b: Face) -> float:
    """Common area as a share of the smaller box: 1 when one face lies inside the other."""
    sides = np.minimum(a.box[2:], b.box[2:]) - np.maximum(a.box[:2], b.box[:2])
    return float(np.prod(np.maximum(sides, 0))) / max(min(a.area, b.area), 1e-6)
