"""Small faces and masks for tests of models. Masks: True = visible."""

import torch

from data_modules.batch import FaceShape
from data_modules.facs import SYNTHETIC_AUS, au_region

GRID, SIZE = 4, 48
REGIONS = tuple(au_region(au, "canonical") for au in SYNTHETIC_AUS)
FACES = FaceShape(SIZE, GRID, REGIONS, "canonical")


def faces(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, SIZE, SIZE), dtype=torch.uint8)


def masks(counts: list[int]) -> torch.Tensor:
    """One mask per count of visible tokens, True = visible."""
    rows = torch.zeros(len(counts), GRID * GRID, dtype=torch.bool)
    for row, count in zip(rows, counts):
        row[torch.randperm(GRID * GRID)[:count]] = True
    return rows
