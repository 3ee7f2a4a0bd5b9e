"""Node, edge and logit distillation: what a student's output owes to the teacher's on the clean face.

Shapes: B faces, A AUs, d node width, e edge width. No gradient reaches the teacher.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor
from torch.nn import functional as F

from data_modules.errors import UserError
from data_modules.ranges import ABOVE_0, SHARE, check_fields
from fau_mae.models.au_output import AUOutput

Distance = Literal["mse", "cosine", "smooth_l1"]


@dataclass
class DistilConfig:
    """How far a student is from its teacher.

    Args:
        node_distance, edge_distance: `mse`, `cosine` (1 − cosine along the width) or `smooth_l1`.
        message_passing: nodes and edges `after` it or `before` it.
        normalise_nodes: each AU's node, teacher's and student's, to mean 0 and variance 1 over its width first.
        edge_target: `edges`, the edge vectors themselves, or `relations`, the A × A cosines between the nodes, which
            need no common width.
        temperature: of the logits; above 1 the teacher's doubts count more.
        mirrored: targets are the mean of what the teacher says of a face and of its mirror image, which is better than
            either; the teacher's cost doubles. Latents are compared with those of the face alone.
        ramp_share: share of all steps over which the distillation weights rise from 0 to their values.
    """

    node_distance: Distance = "cosine"
    edge_distance: Distance = "mse"
    message_passing: Literal["after", "before"] = "after"
    normalise_nodes: bool = False
    edge_target: Literal["edges", "relations"] = "edges"
    temperature: Annotated[float, ABOVE_0] = 1.0
    mirrored: bool = False
    ramp_share: Annotated[float, SHARE] = 0.0

    def __post_init__(self) -> None:
        """Raises `UserError` for an unknown word or a value out of its range."""
        check_fields(self, "distil")

    def ramp(self, step: int, total_steps: int) -> float:
        """Factor of the distillation weights at a step counted from 0, in (0, 1]."""
        return min(1.0, (step + 1) / max(1.0, self.ramp_share * total_steps))


def node_loss(student: AUOutput, teacher: AUOutput, config: DistilConfig) -> Tensor:
    """Distance of the AU nodes, mean over faces and AUs. Raises `UserError` where their widths differ."""
    ours, theirs = _nodes(student, config), _nodes(teacher, config).detach()
    _same_width("nodes", ours, theirs)
    if config.normalise_nodes:
        ours, theirs = (F.layer_norm(nodes, nodes.shape[-1:]) for nodes in (ours, theirs))
    return _DISTANCES[config.node_distance](ours, theirs)


def edge_loss(student: AUOutput, teacher: AUOutput, config: DistilConfig) -> Tensor:
    """Distance of the AU relations, mean over faces and pairs. Raises `UserError` where edge widths differ."""
    if config.edge_target == "relations":
        ours, theirs = relations(_nodes(student, config)), relations(_nodes(teacher, config).detach())
    elif config.message_passing == "after":
        ours, theirs = student.edges, teacher.edges.detach()
    else:
        ours, theirs = student.first_edges, teacher.first_edges.detach()
    _same_width("edges", ours, theirs)
    return _DISTANCES[config.edge_distance](ours, theirs)


def logit_loss(student: AUOutput, teacher: AUOutput, config: DistilConfig) -> Tensor:
    """Binary cross-entropy of the student's logits (B, A) against the teacher's probabilities, less its entropy.

    The entropy is a constant of the teacher, so the gradient is unchanged and a perfect student reaches 0. Both are
    softened by the temperature T, and the loss scaled by T², which keeps its gradient (Hinton et al., 2015).
    """
    T = config.temperature
    target = (teacher.logits.detach() / T).sigmoid()
    entropy = F.binary_cross_entropy(target, target)
    return T * T * (F.binary_cross_entropy_with_logits(student.logits / T, target) - entropy)


# Names are those of the weights in the student's settings.
LOSSES: dict[str, Callable[[AUOutput, AUOutput, DistilConfig], Tensor]] = {
    "node": node_loss,
    "edge": edge_loss,
    "logit": logit_loss,
}


def mean_output(one: AUOutput, other: AUOutput) -> AUOutput:
    """The mean of two outputs, field by field: AUs are the same on a face and on its mirror image."""
    return AUOutput(*((a + b) / 2 for a, b in zip(one, other)))


def relations(nodes: Tensor) -> Tensor:
    """Nodes (B, A, d) -> cosines between all pairs (B, A, A)."""
    unit = F.normalize(nodes, dim=-1, eps=1e-3)
    return unit @ unit.transpose(1, 2)


def _nodes(output: AUOutput, config: DistilConfig) -> Tensor:
    return output.nodes if config.message_passing == "after" else output.first_nodes


def _same_width(what: str, student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape:
        raise UserError(
            f"the student's {what} are {student.shape[-1]} wide, the teacher's {teacher.shape[-1]}: use the teacher's "
            "head and node_width, or weigh logits and relations only (model.distil.edge_target=relations)"
        )


def _cosine(student: Tensor, teacher: Tensor) -> Tensor:
    return (1 - F.cosine_similarity(student, teacher, dim=-1)).mean()


_DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": F.mse_loss,
    "cosine": _cosine,
    "smooth_l1": F.smooth_l1_loss,
}
