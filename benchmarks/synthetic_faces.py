"""How fast the synthetic faces render, how well their action units can be learned, and the card's sheets.

    python benchmarks/synthetic_faces.py speed
    python benchmarks/synthetic_faces.py probe --folder WORK
    python benchmarks/synthetic_faces.py detector
    python benchmarks/synthetic_faces.py sheets --folder docs/images

`speed` prints frames per second of one core. `probe` prepares 300 training and 40 unseen test identities
under WORK (20 frames each, 96², kept for the next run), trains a small network on orientation histograms and
prints AUROC by AU. `detector` counts the faces that the project's face detector accepts.
`sheets` writes the sheets.
"""

import argparse
import math
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional

from data_modules.faces.detection import FaceDetector
from data_modules.facs import au_name
from data_modules.stores.store import FaceStore
from data_modules.synthetic import prepare_synthetic
from data_modules.synthetic_faces.draw import draw_frame, draw_identity
from data_modules.synthetic_faces.sheets import au_sheet, poses_sheet, preview_sheet, sides_sheet

_FRAMES_PER_IDENTITY = 20
_ORIENTATIONS = 8
_DETECTOR_SEEDS = range(11, 16)  # 1 to 5 served to choose light and pose


def measure_speed() -> None:
    """Frames per second of one core: known identities, and with the identity built for 20 frames."""
    cv2.setNumThreads(1)
    for size in (96, 224):
        draw_frame(draw_identity(0, 0), 0, 0, size)  # compiles
        known = _frames_per_second([0], size, 3 * _FRAMES_PER_IDENTITY, build=False)
        new = _frames_per_second([1, 2, 3], size, _FRAMES_PER_IDENTITY, build=True)
        print(f"{size}²: {known:.1f} frames/s, {new:.1f} with a new identity every {_FRAMES_PER_IDENTITY}")


def _frames_per_second(numbers: list[int], size: int, frames: int, build: bool) -> float:
    """By processor time, so that other work on the machine disturbs less."""
    ready = {} if build else {number: draw_identity(0, number) for number in numbers}
    start = time.process_time()
    for number in numbers:
        identity = ready.get(number) or draw_identity(0, number)
        for frame in range(frames):
            draw_frame(identity, 0, frame, size)
    return len(numbers) * frames / (time.process_time() - start)


def orientation_histograms(store: FaceStore, mirror: bool) -> Tensor:
    """Gradient orientations by 8-pixel cell, every 4 pixels, over local contrast: (n, features)."""
    images = np.stack([store.image(index) for index in range(len(store))])
    parts = np.array_split(images, len(images) // 200 + 1)
    return torch.cat([_histograms(torch.from_numpy(part), mirror) for part in parts])


def _histograms(images: Tensor, mirror: bool) -> Tensor:
    """uint8 (B, H, W, 3) -> (B, features), after Dalal & Triggs 2005."""
    grey = torch.log(images.float().mean(-1)[:, None] + 10)  # (B, 1, H, W)
    grey = grey.flip(-1) if mirror else grey
    padded = functional.pad(grey, (1, 1, 1, 1), mode="replicate")
    along = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    down = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    strength, angle = torch.hypot(along, down), torch.atan2(down, along)
    centres = torch.arange(_ORIENTATIONS).view(1, -1, 1, 1) * (2 * math.pi / _ORIENTATIONS)
    votes = strength * torch.relu(torch.cos(angle - centres) - 0.5)  # (B, 8, H, W)
    cells = functional.avg_pool2d(votes, 8, 4)
    contrast = functional.avg_pool2d(strength, 20, 4, padding=6, count_include_pad=False)
    return (cells / (contrast[..., : cells.shape[-2], : cells.shape[-1]] + 0.02)).flatten(1)


def train_probe(features: Tensor, labels: Tensor, epochs: int, batch: int = 128) -> nn.Module:
    """One hidden layer with strong dropout and weight decay; one-cycle schedule."""
    torch.manual_seed(0)
    hidden = 256
    probe = nn.Sequential(
        nn.Dropout(0.3),
        nn.Linear(features.shape[1], hidden),
        nn.GELU(),
        nn.Dropout(0.5),
        nn.Linear(hidden, labels.shape[1]),
    )
    optimizer = torch.optim.AdamW(probe.parameters(), lr=1e-3, weight_decay=0.5)
    steps = epochs * (len(features) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps, pct_start=0.1)
    for _ in track(range(steps), "training the probe"):
        rows = torch.randint(len(features), (batch,))
        loss = functional.binary_cross_entropy_with_logits(probe(features[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return probe.eval()


def auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve by ranks (Mann-Whitney)."""
    rank = np.empty(len(scores))
    rank[scores.argsort()] = np.arange(1, len(scores) + 1)
    positives = labels.sum()
    wins = rank[labels > 0].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * (len(labels) - positives)))


def run_probe(work: Path, epochs: int) -> None:
    """Prepare, train on faces and their mirror images, score the unseen identities; print a table."""
    start = time.perf_counter()
    train = prepare_synthetic(work / "train", 300, _FRAMES_PER_IDENTITY, 96, seed=0)
    prepared = time.perf_counter()
    test = prepare_synthetic(work / "test", 40, _FRAMES_PER_IDENTITY, 96, seed=0, first_identity=300)
    begin, worked = time.perf_counter(), time.process_time()
    features = torch.cat([orientation_histograms(train, mirror) for mirror in (False, True)])
    mean, spread = features.mean(0), features.std(0) + 0.02
    labels = torch.from_numpy(np.tile(train.column("labels"), (2, 1)).astype(np.float32))
    probe = train_probe((features - mean) / spread, labels, epochs)
    with torch.inference_mode():
        views = [(orientation_histograms(test, mirror) - mean) / spread for mirror in (False, True)]
        scores = (probe(views[0]) + probe(views[1])).numpy()
    spent, worked = time.perf_counter() - begin, time.process_time() - worked
    truth = test.column("labels")
    areas = [auroc(scores[:, k], truth[:, k]) for k in range(truth.shape[1])]
    for number, area, share in zip(test.info.aus, areas, truth.mean(0)):
        print(f"{au_name(number):5} AUROC {area:.3f}   present in {share:.2f}")
    print(f"mean  AUROC {np.mean(areas):.3f}   least {min(areas):.3f}   probe {spent:.0f} s")
    print(f"the probe's processor time, both cores together: {worked:.0f} s")
    print(f"prepared {len(train)} frames in {prepared - start:.0f} s (0: they were there already)")


def count_detected(seeds: range, faces: int = 100) -> None:
    """How many random faces at 224², as they are, the project's face detector accepts; by seed."""
    detector = FaceDetector()
    for seed in seeds:
        images = [draw_frame(draw_identity(seed, number), seed, 0, 224).image for number in range(faces)]
        accepted = sum(bool(found) for found in detector.detect(images))
        print(f"seed {seed}: the face detector accepts {accepted} of {faces} faces at 224²")


def write_sheets(folder: Path) -> None:
    """The contact sheets of docs/synthetic-faces.md."""
    preview_sheet(folder / "synthetic-random.jpg", seed=0, size=160)
    preview_sheet(folder / "synthetic-96.jpg", seed=1, size=96, columns=12, rows=4)
    au_sheet(folder / "synthetic-aus.jpg", seed=0, numbers=[6, 16, 7], size=128)
    sides_sheet(folder / "synthetic-sides.jpg", seed=0, number=6, size=128)
    poses_sheet(folder / "synthetic-poses.jpg", seed=0, number=6)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("speed", "probe", "detector", "sheets"))
    parser.add_argument("--folder", type=Path, default=Path("synthetic-probe"))
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()
    actions = {
        "speed": measure_speed,
        "probe": lambda: run_probe(arguments.folder, arguments.epochs),
        "detector": lambda: count_detected(_DETECTOR_SEEDS),
        "sheets": lambda: write_sheets(arguments.folder),
    }
    actions[arguments.what]()
