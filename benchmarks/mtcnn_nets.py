"""The three nets of MTCNN (Zhang et al., 2016: joint face detection and alignment by cascaded CNNs).

The weights are those inside the MIT-licensed `mtcnn` 1.0.0 wheel. That package runs on TensorFlow, so it is
never imported: its weight files are found, hash-checked and read, and the nets run in torch.
"""

import hashlib
import importlib.util
from pathlib import Path

import joblib
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_modules.errors import UserError

# Pickles run code when read: only files with exactly these contents are opened.
_SHA256 = {
    "pnet": "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
    "rnet": "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    "onet": "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
}


class PNet(nn.Module):
    """Proposals: a fully convolutional net with a 12 px window and a stride of 2."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.box, self.score = nn.Conv2d(32, 4, 1), nn.Conv2d(32, 2, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) in -1..1 -> box offsets (B, 4, h, w), face probability (B, h, w)."""
        x = F.max_pool2d(self.prelu1(self.conv1(image)), 2, 2, ceil_mode=True)
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))  # (B, 32, h, w)
        return self.box(x), self.score(x).softmax(1)[:, 1]


class RNet(nn.Module):
    """Refinement of 24 px windows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.box, self.score = nn.Linear(128, 4), nn.Linear(128, 2)

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 24, 24) -> box offsets (B, 4), face probability (B,)."""
        x = F.max_pool2d(self.prelu1(self.conv1(windows)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.prelu2(self.conv2(x)), 3, 2)
        x = self.prelu4(self.dense(_flatten(self.prelu3(self.conv3(x)))))
        return self.box(x), self.score(x).softmax(1)[:, 1]


class ONet(nn.Module):
    """Output: box, score and five points of 48 px windows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.dense, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.box, self.points, self.score = nn.Linear(256, 4), nn.Linear(256, 10), nn.Linear(256, 2)

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, 48, 48) -> box offsets (B, 4), points (B, 5, 2) in 0..1 of the window, probability (B,)."""
        x = F.max_pool2d(self.prelu1(self.conv1(windows)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.prelu2(self.conv2(x)), 3, 2)
        x = F.max_pool2d(self.prelu3(self.conv3(x)), 2, 2, ceil_mode=True)
        x = self.prelu5(self.dense(_flatten(self.prelu4(self.conv4(x)))))
        points = self.points(x).view(-1, 2, 5).transpose(1, 2)  # the net gives all x, then all y
        return self.box(x), points, self.score(x).softmax(1)[:, 1]


def load_mtcnn() -> tuple[PNet, RNet, ONet]:
    """The three nets with their weights, frozen and in evaluation mode.

    Raises `UserError` when the `mtcnn` wheel is missing or its weight files are not those of version 1.0.0.
    """
    nets = PNet(), RNet(), ONet()
    for net, name in zip(nets, _SHA256):
        _fill(net, _read_arrays(name))
        net.eval().requires_grad_(False)
    return nets


def _flatten(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, W·H·C): the order in which the published dense layers read their input."""
    return x.permute(0, 3, 2, 1).flatten(1)


def _read_arrays(name: str) -> list[np.ndarray]:
    spec = importlib.util.find_spec("mtcnn")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("the face detector's weights are missing: run `pip install mtcnn==1.0.0`")
    path = Path(spec.submodule_search_locations[0]) / "assets" / "weights" / f"{name}.lz4"
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != _SHA256[name]:
        raise UserError(f"{path} is not the weight file of mtcnn 1.0.0: run `pip install mtcnn==1.0.0`")
    return joblib.load(path)


def _fill(net: nn.Module, arrays: list[np.ndarray]) -> None:
    """Copy the wheel's arrays, layer by layer, into the parameters, which are declared in that order."""
    with torch.no_grad():
        for parameter, array in zip(net.parameters(), arrays, strict=True):
            value = torch.from_numpy(np.asarray(array))
            if value.ndim == 4:
                value = value.permute(3, 2, 0, 1)  # (h, w, in, out) -> (out, in, h, w)
            elif value.ndim == 2:
                value = value.T  # (in, out) -> (out, in)
            parameter.copy_(value.reshape(parameter.shape))
