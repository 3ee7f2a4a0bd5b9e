"""The cascade of MTCNN, batched, in torch: the finder before this one, to compare with.

Pixel convention: coordinates are those of OpenCV, pixel centres at whole numbers; boxes are x0, y0, x1, y1.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import cv2
import numpy as np
import torch
from mtcnn_nets import load_mtcnn
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import batched_nms, roi_align

from data_modules.faces.alignment import Face

_PYRAMID_STEP = 0.709  # about half the area from level to level, as published
_WINDOW, _STRIDE = 12, 2  # of the proposal net
_FINEST = 48  # pixels of the output net's window: what it sees of a face, however large
_CHUNK = 8  # pictures at once: bounds memory
_LONGEST = 2048  # pixels of the longer side; a larger picture is shrunk for the search, which bounds memory


class MTCNN:
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
        offsets, score = _run(self.rnet, _windows(batch, boxes, owner, 24))
        keep = score > self.thresholds[1]
        boxes, score, owner = _moved(boxes, offsets)[keep], score[keep], owner[keep]
        keep = batched_nms(boxes, score, owner, 0.7)
        return _square(boxes[keep]), owner[keep]

    def _finish(self, batch: Tensor, boxes: Tensor, owner: Tensor) -> list[list[Face]]:
        faces: list[list[Face]] = [[] for _ in batch]
        if not len(boxes):
            return faces
        offsets, points, score = _run(self.onet, _windows(batch, boxes, owner, 48))
        sides = (boxes[:, 2:] - boxes[:, :2])[:, None]  # (M, 1, 2)
        # 0 is the centre of a window's first pixel, as published.
        points = boxes[:, None, :2] + points * sides
        boxes = _moved(boxes, offsets)
        order = score.argsort(descending=True)
        for i in order[score[order] > self.thresholds[2]].tolist():
            face = Face(boxes[i].cpu().numpy(), float(score[i]), points[i].cpu().numpy())
            if all(_overlap_of_smaller(face, other) <= 0.7 for other in faces[int(owner[i])]):
                faces[int(owner[i])].append(face)
        return faces


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


def _run(net: nn.Module, windows: Tensor) -> tuple[Tensor, ...]:
    """`net` on (M, 3, s, s) windows, padded to a power of two: torch's CPU kernels keep memory per batch size."""
    count = len(windows)
    padded = F.pad(windows, (0, 0, 0, 0, 0, 0, 0, (1 << (count - 1).bit_length()) - count))
    return tuple(output[:count] for output in net(padded))


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
