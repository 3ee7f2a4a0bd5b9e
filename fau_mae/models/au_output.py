"""AUOutput: what every head returns."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class AUOutput(NamedTuple):
    """B faces, A AUs. Distillation is written once against it.

    `edges[:, i, j]` is what AU i receives from AU j. The first nodes and edges are those before message passing;
    a head that leaves its edges as they are there returns the same tensor twice.
    """

    logits: Tensor  # (B, A)
    nodes: Tensor  # (B, A, d), after message passing
    edges: Tensor  # (B, A, A, e), after message passing
    first_nodes: Tensor  # (B, A, d), before message passing
    first_edges: Tensor  # (B, A, A, e), before message passing


def of_aus(output: AUOutput, rows: Sequence[int]) -> AUOutput:
    """The output for the AUs at `rows`, in that order."""
    rows = list(rows)
    nodes, edges = (output.nodes, output.first_nodes), (output.edges, output.first_edges)
    after, before = (value[:, rows] for value in nodes)
    edges_after, edges_before = (value[:, rows][:, :, rows] for value in edges)
    return AUOutput(output.logits[:, rows], after, edges_after, before, edges_before)
