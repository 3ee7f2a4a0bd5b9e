"""Time of a training step of the quickstart model: by visible share, stem and attention kernel.

    python benchmarks/training.py

Prints milliseconds per step of 48 faces (forward and backward, median of 7) on this machine's CPU.
"""

import statistics
import time

import torch
from timm.layers import Attention

from data_modules.batch import FaceShape
from data_modules.facs import SYNTHETIC_AUS, au_region
from fau_mae.models.au_model import AUModel, AUModelConfig

BATCH, SIZE, GRID = 48, 96, 8


def step_ms(model: AUModel, visible_share: float) -> float:
    """Median milliseconds of forward and backward with this share of tokens visible."""
    image = torch.randint(0, 256, (BATCH, 3, SIZE, SIZE), dtype=torch.uint8)
    shown = round(visible_share * GRID * GRID)
    visible = torch.rand(BATCH, GRID * GRID).argsort(1) < shown  # True = visible
    times = []
    for _ in range(9):
        start = time.perf_counter()
        model(image, None if shown == GRID * GRID else visible).logits.sum().backward()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[2:])


def main() -> None:
    faces = FaceShape(SIZE, GRID, tuple(au_region(au, "canonical") for au in SYNTHETIC_AUS), "canonical")
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, batch {BATCH}, micro encoder")
    for stem in ("linear", "gradient"):
        for fused in (False, True):
            model = AUModel(AUModelConfig("micro", stem, layers=(-1,)), faces)
            for module in model.encoder.modules():
                if isinstance(module, Attention):
                    module.fused_attn = fused  # type: ignore[misc]  # final for TorchScript only
            row = "  ".join(
                f"{share:.0%} visible {step_ms(model, share):5.0f} ms" for share in (1.0, 0.5, 0.25)
            )
            print(f"{stem:8} {'fused' if fused else 'explicit':8} {row}")


if __name__ == "__main__":
    main()
