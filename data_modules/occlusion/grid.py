"""Occlusions cut from a grid of cells. True = visible.

A grid kind is an order in which cells disappear; severity s hides the first round(s·g²) of them, so the count
is exact, the same for every face, and masks are nested. `block` alone is a chain of rectangles instead.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from data_modules.occlusion.spec import LADDER, cell_bounds
from data_modules.streams import Draws

_ASPECTS = tuple(float(a) for a in np.geomspace(0.5, 2.0, 15))  # of `block`, height over width
_TOLERANCE = 0.03  # how far the share that `block` hides may lie from a rung of the ladder
# Cells beside a rung cost this much, against cells times how far off the aspect is (in its log).
_MISSED = 0.1


def hide_first(order: np.ndarray, severity: float, grid: int) -> np.ndarray:
    """Hide the first round(severity·grid²) cells of `order` (grid²,) -> (grid, grid) bool, True = visible."""
    visible = np.ones(grid * grid, bool)
    visible[order[: round(severity * grid * grid)]] = False
    return visible.reshape(grid, grid)


def patches_visible(draws: Draws, severity: float, grid: int) -> np.ndarray:
    """Hide exactly round(severity·grid²) random cells -> (grid, grid) bool, True = visible."""
    return hide_first(draws.order(grid * grid), severity, grid)


def edge_visible(draws: Draws, severity: float, grid: int, edge: str) -> np.ndarray:
    """Hide cells row by row (or column by column) from `edge` -> (grid, grid) bool, True = visible.

    `edge` is "upper", "lower", "left" or "right", as the viewer sees it. The last row may be hidden in part,
    from a random end, so that the count is exact.
    """
    visible = np.ones(grid * grid, bool)
    visible[: round(severity * grid * grid)] = False
    rows = visible.reshape(grid, grid)[:, :: 1 if draws.uniform() < 0.5 else -1]  # from above
    rows = rows if edge in ("upper", "left") else rows[::-1]
    return rows if edge in ("upper", "lower") else rows.T


def block_visible(draws: Draws, severity: float, grid: int) -> np.ndarray:
    """Hide one rectangle whose area comes nearest to severity·grid² -> (grid, grid) bool, True = visible.

    The rectangles of one face form a chain, each holding the one before: from nothing to the whole grid, row
    by row and column by column, about a random place and near a random aspect ratio.
    """
    chain = block_chain(grid, draws.below(len(_ASPECTS)))
    down, across = draws.uniform(), draws.uniform()
    step = int(np.searchsorted(chain.halfway, severity * grid * grid, "right"))
    height, width = chain.heights[step], chain.widths[step]
    # The first row moves up by one or not at all when the height grows by one, so blocks hold one another.
    top, left = int(down * (grid - height + 1)), int(across * (grid - width + 1))
    visible = np.ones((grid, grid), bool)
    visible[top : top + height, left : left + width] = False
    return visible


class BlockChain(NamedTuple):
    """Sizes of growing rectangles, in cells, from 0 x 0 to the whole grid."""

    heights: tuple[int, ...]
    widths: tuple[int, ...]
    halfway: np.ndarray  # (steps - 1,) areas half-way between one rectangle and the next


@lru_cache(maxsize=256)
def block_chain(grid: int, aspect: int) -> BlockChain:
    """The chain that keeps near aspect ratio number `aspect` and meets the ladder within 3 % where it can.

    The cheapest path over all sizes from 1 x 1 to grid x grid, one row or column at a time.
    """
    wanted, rungs = float(np.log(_ASPECTS[aspect])), [rung * grid * grid for rung in LADDER[1:]]

    def cost(before: int, height: int, width: int) -> float:
        area = height * width
        missed = [min(rung - before, area - rung) for rung in rungs if before < rung <= area]
        excess = sum(max(0.0, miss / grid**2 - _TOLERANCE) for miss in missed)
        off = abs(float(np.log(height / width)) - wanted)
        # Rounded, so that ties are alike everywhere.
        return round(excess * 1e6 + sum(missed) * _MISSED + off * (area - before), 6)

    best: dict[tuple[int, int], tuple[float, tuple[int, int] | None]] = {(1, 1): (cost(0, 1, 1), None)}
    for height in range(1, grid + 1):
        for width in range(1, grid + 1):
            ways = [
                (best[size][0] + cost(size[0] * size[1], height, width), size)
                for size in ((height - 1, width), (height, width - 1))
                if size in best
            ]
            if ways:
                best[height, width] = min(ways)
    sizes: list[tuple[int, int]] = []
    size: tuple[int, int] | None = (grid, grid)
    while size:
        sizes.append(size)
        size = best[size][1]
    heights, widths = zip((0, 0), *reversed(sizes))
    areas = np.multiply(heights, widths)
    return BlockChain(heights, widths, (areas[1:] + areas[:-1]) / 2)


def cells_to_pixels(cells: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cell mask (g, g) bool -> pixel mask (height, width) bool; same polarity."""
    grid = cells.shape[0]
    return cells.take(_cell_of(width, grid), 1).take(_cell_of(height, grid), 0)


@lru_cache(maxsize=64)
def _cell_of(length: int, grid: int) -> np.ndarray:
    """The cell that each pixel of a side lies in, (length,)."""
    return np.repeat(np.arange(grid), np.diff(cell_bounds(length, grid)))
