"""Pictures as rows of patches, and back. Shapes: B batch, N = grid² patches, P = 3·patch² numbers of a patch."""

from torch import Tensor


def patchify(image: Tensor, patch: int) -> Tensor:
    """(B, 3, H, W) -> (B, N, 3·patch²), patches row by row, each in the order channel, y, x."""
    B, C, H, W = image.shape
    cells = image.reshape(B, C, H // patch, patch, W // patch, patch)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(B, -1, C * patch * patch)  # (B, N, P)


def unpatchify(patches: Tensor, patch: int) -> Tensor:
    """(B, N, 3·patch²) -> (B, 3, H, W), the inverse of `patchify` for a square grid."""
    B, N, P = patches.shape
    grid = round(N**0.5)
    cells = patches.reshape(B, grid, grid, P // patch**2, patch, patch)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(B, P // patch**2, grid * patch, grid * patch)
