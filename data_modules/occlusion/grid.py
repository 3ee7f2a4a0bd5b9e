"""Occlusions cut from a grid of cells. True = visible.

A grid kind is an order in which cells disappear; severity s hides the first round(s·g²) of them, so the count
is exact, the same for every face, and masks are nested. `block` alone is a chain of rectangles instead.
"""

import numpy as np

from data_modules.occlusion.spec import cell_bounds


def hide_first(order: np.ndarray, severity: float, grid: int) -> np.ndarray:
    """Hide the first round(severity·grid²) cells of `order` (grid²,) -> (grid, grid) bool, True = visible."""
    visible = np.ones(grid * grid, bool)
    visible[order[: round(severity * grid * grid)]] = False
    return visible.reshape(grid, grid)


def patches_visible(rng: np.random.Generator, severity: float, grid: int) -> np.ndarray:
    """Hide exactly round(severity·grid²) random cells -> (grid, grid) bool, True = visible."""
    return hide_first(rng.permutation(grid * grid), severity, grid)


def edge_visible(rng: np.random.Generator, severity: float, grid: int, edge: str) -> np.ndarray:
    """Hide cells row by row (or column by column) from `edge` -> (grid, grid) bool, True = visible.

    `edge` is "upper", "lower", "left" or "right", as the viewer sees it. The last row may be hidden in part,
    from a random end, so that the count is exact.
    """
    along = np.arange(grid) if rng.random() < 0.5 else np.arange(grid)[::-1]
    depth = np.arange(grid) if edge in ("upper", "left") else np.arange(grid)[::-1]
    cells = (
        depth[:, None] * grid + along[None]
        if edge in ("upper", "lower")
        else depth[:, None] + along[None] * grid
    )
    return hide_first(cells.reshape(-1), severity, grid)


def block_visible(rng: np.random.Generator, severity: float, grid: int) -> np.ndarray:
    """Hide one rectangle whose area comes nearest to severity·grid² -> (grid, grid) bool, True = visible.

    The rectangles of one face form a chain, each holding the one before: it starts from a random cell and
    grows by one row or column at a time, towards a random aspect ratio, until it covers the grid.
    """
    target = severity * grid * grid
    chain = _rectangle_chain(rng, grid)
    areas = np.array([0] + [(y1 - y0) * (x1 - x0) for y0, y1, x0, x1 in chain])
    nearest = int(np.argmin(np.abs(areas - target)))
    visible = np.ones((grid, grid), bool)
    if nearest:
        y0, y1, x0, x1 = chain[nearest - 1]
        visible[y0:y1, x0:x1] = False
    return visible


def _rectangle_chain(rng: np.random.Generator, grid: int) -> list[tuple[int, int, int, int]]:
    """Nested rectangles (y0, y1, x0, x1) from one cell to the whole grid."""
    y0, x0 = (int(v) for v in rng.integers(0, grid, 2))
    y1, x1 = y0 + 1, x0 + 1
    aspect = float(np.exp(rng.uniform(np.log(0.5), np.log(2.0))))  # height over width
    coins = rng.random(2 * grid)
    chain = [(y0, y1, x0, x1)]
    while (y1 - y0, x1 - x0) != (grid, grid):
        taller = x1 - x0 == grid or (y1 - y0 < grid and (y1 - y0) <= aspect * (x1 - x0))
        first = coins[len(chain)] < 0.5
        if taller:
            if y0 > 0 and (first or y1 == grid):
                y0 -= 1
            else:
                y1 += 1
        elif x0 > 0 and (first or x1 == grid):
            x0 -= 1
        else:
            x1 += 1
        chain.append((y0, y1, x0, x1))
    return chain


def cells_to_pixels(cells: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cell mask (g, g) bool -> pixel mask (height, width) bool; same polarity."""
    rows = np.diff(cell_bounds(height, cells.shape[0]))
    cols = np.diff(cell_bounds(width, cells.shape[1]))
    return np.repeat(np.repeat(cells, cols, 1), rows, 0)
