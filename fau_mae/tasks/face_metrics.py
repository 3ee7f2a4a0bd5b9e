"""Metrics of a validation epoch as torchmetrics modules, on any number of ranks."""

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from fau_mae import metrics


class FaceMetrics(Metric):
    """Scores of an epoch's faces, each counted once, on any number of ranks.

    Distributed samplers repeat faces to even out the ranks; faces are told apart by sample id.
    """

    full_state_update = False
    names: ClassVar[tuple[str, ...]]  # of its scores
    predicted: list[Tensor]
    truth: list[Tensor]
    sample_id: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for state in ("predicted", "truth", "sample_id"):
            self.add_state(state, [], dist_reduce_fx="cat")

    def update(self, predicted: Tensor, truth: Tensor, sample_id: Tensor) -> None:
        """Take (B, A) predictions, the (B, A) truth and the (B,) int64 sample ids of a batch."""
        self.predicted.append(predicted.detach().float())
        self.truth.append(truth)
        self.sample_id.append(sample_id)

    def compute(self) -> dict[str, Tensor]:
        """Scalars by name, NaN while undefined for every AU."""
        predicted, truth, sample_id = (
            _joined(state).cpu().numpy() for state in (self.predicted, self.truth, self.sample_id)
        )
        _, first = np.unique(sample_id, return_index=True)
        scores = self.scores(predicted[first], truth[first])
        return {name: torch.tensor(float(value), device=self.device) for name, value in scores.items()}

    @abstractmethod
    def scores(self, predicted: NDArray, truth: NDArray) -> dict[str, NDArray]:
        """{name: scalar} of all faces, (N, A) each."""


class AUMetrics(FaceMetrics):
    """Macro AUROC and macro F1 at threshold .5 of probabilities against labels 1/0/-1: {"auroc", "f1"}."""

    names = ("auroc", "f1")

    def scores(self, predicted: NDArray, truth: NDArray) -> dict[str, NDArray]:
        counts = metrics.outcomes(predicted, truth).total()
        return {
            "auroc": metrics.macro(metrics.auroc(metrics.rankings(predicted, truth))),
            "f1": metrics.macro(metrics.f1_score(counts)),
        }


class IntensityMetrics(FaceMetrics):
    """Macro ICC(3,1) and macro mean absolute error of intensities 0-5, NaN unknown: {"icc", "absolute_error"}."""

    names = ("icc", "absolute_error")

    def scores(self, predicted: NDArray, truth: NDArray) -> dict[str, NDArray]:
        return {
            "icc": metrics.macro(metrics.intraclass_correlation(predicted, truth)),
            "absolute_error": metrics.macro(metrics.mean_absolute_error(predicted, truth)),
        }


def _joined(state: Tensor | list[Tensor]) -> Tensor:
    # After a sync torchmetrics hands over one tensor, before it the list of batches.
    return state if isinstance(state, Tensor) else torch.cat(state)
