"""LinearStem: MAE's own, each visible patch is projected."""

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class LinearOptions:
    """None."""


class LinearStem(nn.Module):
    """MAE's own: each visible patch is projected."""

    def __init__(self, patch: int, dim: int, options: LinearOptions = LinearOptions()):
        super().__init__()
        self.proj = nn.Linear(3 * patch * patch, dim)

    def forward(self, patches: Tensor) -> Tensor:
        """Normalised pixels (B, V, P) -> tokens (B, V, D)."""
        return self.proj(patches)
