"""The two nets that find a face and its points: BlazeFace (short range) and the face mesh of MediaPipe.

Sources: Bazarevsky et al., 2019 (BlazeFace); Kartynnik et al., 2019 (face mesh). The weights are those of MediaPipe's
face landmarker of 2023, in half precision as published (`weights/`, Apache-2.0). OpenCV runs them on the CPU, so that
neither its package nor another runtime is needed.
"""

from pathlib import Path

import cv2
import numpy as np

WEIGHTS = Path(__file__).parent / "weights"
WINDOW = 256  # pixels of the mesh net's square
MESH_POINTS = 478
_SIDE = 16  # the finder net's pictures have multiples of it
_CELLS = {"fine": (8, 2), "coarse": (16, 6)}  # pixels of a cell, faces of a cell


class FinderNet:
    """BlazeFace, run on a picture of any size: it sees faces of some twenty pixels and of up to 128."""

    def __init__(self) -> None:
        self._net = cv2.dnn.readNetFromONNX(str(WEIGHTS / "blazeface.onnx"))

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 RGB (H, W, 3) -> scores (n,) in 0..1 and places (n, 8, 2) in pixels: of the box its middle and its
        sides, then six points, the viewer's left eye and right eye first."""
        height, width = (-(-side // _SIDE) * _SIDE for side in image.shape[:2])
        padded = np.zeros((1, 3, height, width), np.float32)
        padded[0, :, : image.shape[0], : image.shape[1]] = image.transpose(2, 0, 1)
        self._net.setInput(padded / 127.5 - 1)
        outputs = self._net.forward([f"{name}_{what}" for name in _CELLS for what in ("score", "place")])
        found = [
            _decoded(score[0], place[0], *cell)
            for score, place, cell in zip(outputs[::2], outputs[1::2], _CELLS.values())
        ]
        scores, places = (np.concatenate(part) for part in zip(*found))
        return scores, places


def _decoded(score: np.ndarray, place: np.ndarray, cell: int, many: int) -> tuple[np.ndarray, np.ndarray]:
    """A grid's logits (many, h, w) and places (many · 16, h, w) -> scores and places, those of any likelihood."""
    likely = np.argwhere(score > -1)
    which, y, x = likely.T
    values = place.reshape(many, 8, 2, *place.shape[1:])[which, :, :, y, x]
    middle = (np.stack([x, y], 1) + 0.5) * cell - 0.5
    values[:, 0] += middle
    values[:, 2:] += middle[:, None]
    return 1 / (1 + np.exp(-score[which, y, x])), values


class MeshNet:
    """478 points of a face that fills the middle two thirds of an upright square, and whether there is one."""

    def __init__(self) -> None:
        self._net = cv2.dnn.readNetFromONNX(str(WEIGHTS / "face_mesh.onnx"))

    def __call__(self, window: np.ndarray) -> tuple[float, np.ndarray]:
        """uint8 RGB (256, 256, 3) -> the probability of a face, and points (478, 2) in pixels."""
        self._net.setInput(np.ascontiguousarray(window.transpose(2, 0, 1)[None]) / np.float32(255))
        presence, points = self._net.forward(["presence", "points"])
        return float(1 / (1 + np.exp(-presence.item()))), points.reshape(MESH_POINTS, 3)[:, :2] - 0.5
