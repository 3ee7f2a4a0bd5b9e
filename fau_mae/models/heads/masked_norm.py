"""MaskedBatchNorm: batch normalisation whose statistics count real entries only. Masks: True = visible."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Moments(NamedTuple):
    """Mean and (biased) variance per channel, and how many entries they were taken over."""

    mean: Tensor
    var: Tensor
    entries: Tensor


class MaskedBatchNorm(nn.Module):
    """`nn.BatchNorm` for padded tensors: padding enters no statistic, so it never changes a real entry.

    In evaluation, and in training too when `frozen`, the running statistics are used: each face is then normalised
    on its own. Otherwise training uses the statistics of the batch, as published, so a face's output depends on
    its neighbours there; each process of a distributed run takes its own.

    Args:
        shape: of the channels, broadcast against the input: (C,) for the last dimension, (A, 1) for rows of it.
        frozen: use the running statistics while training and leave them as they are.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self, shape: tuple[int, ...], frozen: bool = False, momentum: float = 0.1, eps: float = 1e-5
    ):
        super().__init__()
        self.frozen, self.momentum, self.eps = frozen, momentum, eps
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape))
        self.register_buffer("running_mean", torch.zeros(shape))
        self.register_buffer("running_var", torch.ones(shape))

    def forward(
        self, x: Tensor, valid: Tensor | None = None, moments: Callable[[], Moments] | None = None
    ) -> Tensor:
        """Normalise `x`, whose last dimensions broadcast with the channels.

        Args:
            valid: bool, broadcastable to `x`, False = padding; None = all are real.
            moments: where given, called for the batch's statistics in place of taking those of `x`.
        """
        x = x.to(self.weight.dtype)  # statistics and their use stay in full precision under autocast
        mean, var = self.running_mean, self.running_var
        if self.training and not self.frozen:
            batch = moments() if moments else self._moments(x, valid)
            self._remember(batch)
            seen = batch.entries > 0
            mean, var = torch.where(seen, batch.mean, mean), torch.where(seen, batch.var, var)
        return (x - mean) * torch.rsqrt(var + self.eps) * self.weight + self.bias

    def _moments(self, x: Tensor, valid: Tensor | None) -> Moments:
        channels = self.weight.shape
        ahead = x.ndim - len(channels)
        dims = [*range(ahead), *(ahead + i for i, size in enumerate(channels) if size == 1)]
        real = torch.ones_like(x) if valid is None else valid.expand_as(x).to(x.dtype)
        count = real.sum(dims).reshape(channels)
        mean = (x * real).sum(dims).reshape(channels) / count.clamp(min=1)
        var = ((x - mean).square() * real).sum(dims).reshape(channels) / count.clamp(min=1)
        return Moments(mean, var, count)

    @torch.no_grad()
    def _remember(self, batch: Moments) -> None:
        rate = self.momentum * (batch.entries > 0)
        unbiased = batch.var * batch.entries / (batch.entries - 1).clamp(min=1)
        self.running_mean += rate * (batch.mean - self.running_mean)
        self.running_var += rate * (unbiased - self.running_var)
