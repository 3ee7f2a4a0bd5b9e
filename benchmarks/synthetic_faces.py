"""How fast the synthetic faces render, and how well their action units can be learned.

    python benchmarks/synthetic_faces.py speed
    python benchmarks/synthetic_faces.py probe --store WORK [--minutes 4.5]

`speed` prints frames per second of one core. `probe` prepares 300 training and 40 unseen test identities
under WORK (20 frames each, 96², kept for the next run), trains a small convolutional network and prints
AUROC by AU.
"""

import argparse
import time
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from data_modules.facs import au_name
from data_modules.store import FaceStore
from data_modules.synthetic import prepare_synthetic
from data_modules.synthetic_faces.draw import draw_frame, draw_identity

_FRAMES_PER_IDENTITY = 20


def measure_speed() -> None:
    """Frames per second of one core: known identities, and with the identity built for 20 frames."""
    cv2.setNumThreads(1)
    for size in (96, 224):
        identity = draw_identity(0, 0)
        draw_frame(identity, 0, 0, size)  # compiles
        start = time.perf_counter()
        for frame in range(3 * _FRAMES_PER_IDENTITY):
            draw_frame(identity, 0, frame, size)
        known = 3 * _FRAMES_PER_IDENTITY / (time.perf_counter() - start)
        start = time.perf_counter()
        for number in range(1, 4):
            identity = draw_identity(0, number)
            for frame in range(_FRAMES_PER_IDENTITY):
                draw_frame(identity, 0, frame, size)
        new = 3 * _FRAMES_PER_IDENTITY / (time.perf_counter() - start)
        print(f"{size}²: {known:.1f} frames/s known identity, {new:.1f} with a new identity every 20 frames")


class Probe(nn.Module):
    """A small residual network: faces (B, 3, 96, 96) -> logits (B, A)."""

    def __init__(self, aus: int, widths: tuple[int, ...] = (32, 64, 128, 192)):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 5, 2, 2, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        self.downs = nn.ModuleList(_layer(a, b, 2) for a, b in pairwise(widths))
        self.blocks = nn.ModuleList(_layer(b, b, 1) for b in widths[1:])
        # Aligned faces: where something moves says which AU it is, so the head sees a grid, not an average.
        self.head = nn.Sequential(nn.Dropout(0.4), nn.Linear(widths[-1] * 36, aus))

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        for down, block in zip(self.downs, self.blocks):
            x = down(x)
            x = x + block(x)
        return self.head(x.flatten(1))


def _layer(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def load_images(store: FaceStore) -> tuple[Tensor, Tensor]:
    """All pictures (n, 3, S, S) uint8 and labels (n, A) float32."""
    images = np.stack([store.image(index) for index in range(len(store))])
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(
        store.column("labels").astype(np.float32)
    )


def train_probe(images: Tensor, labels: Tensor, seconds: float, batch: int = 64) -> Probe:
    """Train on random crops within ±4 pixels, small brightness changes and mirror images, for a fixed
    time."""
    torch.manual_seed(0)
    probe = Probe(labels.shape[1])
    optimizer = torch.optim.AdamW(probe.parameters(), lr=2e-3, weight_decay=0.05)
    start = time.perf_counter()
    probe.train()
    while (spent := (time.perf_counter() - start) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, spent / 0.05 + 0.05) * (1 - spent)
        rows = torch.randint(len(images), (batch,))
        loss = functional.binary_cross_entropy_with_logits(probe(_augment(images[rows])), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return probe.eval()


def _augment(images: Tensor) -> Tensor:
    x = _normalise(images)
    size, pad = x.shape[-1], 4
    left, top = torch.randint(2 * pad + 1, (2,)).tolist()
    x = functional.pad(x, (pad,) * 4, mode="replicate")[..., top : top + size, left : left + size]
    x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(-1), x)
    return x * (1 + 0.2 * torch.randn(len(x), 1, 1, 1)) + 0.2 * torch.randn(len(x), 3, 1, 1)


def _normalise(images: Tensor) -> Tensor:
    """uint8 -> zero mean and unit spread of each picture."""
    x = images.float() / 255
    return (x - x.mean((1, 2, 3), keepdim=True)) / (x.std((1, 2, 3), keepdim=True) + 1e-3)


def auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve by ranks (Mann-Whitney)."""
    rank = np.empty(len(scores))
    rank[scores.argsort()] = np.arange(1, len(scores) + 1)
    positives = labels.sum()
    return float(
        (rank[labels > 0].sum() - positives * (positives + 1) / 2) / (positives * (len(labels) - positives))
    )


def run_probe(work: Path, minutes: float) -> None:
    train = prepare_synthetic(work / "train", 300, _FRAMES_PER_IDENTITY, 96, seed=0)
    test = prepare_synthetic(work / "test", 40, _FRAMES_PER_IDENTITY, 96, seed=0, first_identity=300)
    probe = train_probe(*load_images(train), seconds=60 * minutes)
    images, labels = load_images(test)
    with torch.inference_mode():
        scores = torch.cat(
            [probe(_normalise(x)) + probe(_normalise(x).flip(-1)) for x in images.split(200)]
        ).numpy()
    areas = [auroc(scores[:, k], labels[:, k].numpy()) for k in range(labels.shape[1])]
    for number, area, share in zip(test.info.aus, areas, labels.mean(0).tolist()):
        print(f"{au_name(number):5} AUROC {area:.3f}   present in {share:.2f}")
    print(f"mean  AUROC {np.mean(areas):.3f}   least {min(areas):.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("speed", "probe"))
    parser.add_argument("--store", type=Path, default=Path("synthetic-probe"))
    parser.add_argument("--minutes", type=float, default=4.5)
    arguments = parser.parse_args()
    if arguments.what == "speed":
        measure_speed()
    else:
        run_probe(arguments.store, arguments.minutes)
