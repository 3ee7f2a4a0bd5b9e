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

    @property
    def learns(self) -> bool:
        """Whether the next input's own statistics are used, and remembered."""
        return self.training and not self.frozen

    def forward(
        self, x: Tensor, valid: Tensor | None = None, moments: Callable[[], Moments] | None = None
    ) -> Tensor:
        """Normalise `x`, whose last dimensions broadcast with the channels.

        Args:
            valid: bool, the dimensions before the channels, False = padding, which becomes 0 in training; None = all
                are real.
            moments: where given, called for the batch's statistics in place of taking those of `x`.
        """
        x = x.to(self.weight.dtype)  # statistics and their use stay in full precision under autocast
        if not self.learns or x.numel() == 0:
            return self._normalise(x, self.running_mean, self.running_var)
        if moments is not None:
            batch = moments()
            self._remember(batch)
            seen = batch.entries > 0
            mean = torch.where(seen, batch.mean, self.running_mean)
            return self._normalise(x, mean, torch.where(seen, batch.var, self.running_var))
        if valid is None:
            return self._by_own_statistics(x)
        out = x.new_zeros(x.shape)
        if valid.any():
            out[valid] = self._by_own_statistics(x[valid])
        return out

    def _normalise(self, x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        return torch.addcmul(self.bias, x - mean, torch.rsqrt(var + self.eps) * self.weight)

    def _by_own_statistics(self, x: Tensor) -> Tensor:
        """The library's kernel, which wants the channels in dimension 1; `x` has no padding."""
        channels = self.weight.numel()
        # Entries of a channel that lie side by side.
        spread = x.shape[-1] if self.weight.shape[-1] == 1 else 1
        rows = x.reshape(-1, channels, spread) if spread > 1 else x.reshape(-1, channels)
        out, mean, scale = torch.native_batch_norm(
            rows, self.weight.flatten(), self.bias.flatten(), None, None, True, 0.0, self.eps
        )
        var = (scale.detach().square().reciprocal() - self.eps).clamp(min=0)
        shape = self.weight.shape
        entries = x.new_full(shape, rows.numel() / channels)
        self._remember(Moments(mean.detach().view(shape), var.view(shape), entries))
        return out.view(x.shape)

    @torch.no_grad()
    def _remember(self, batch: Moments) -> None:
        rate = self.momentum * (batch.entries > 0)
        unbiased = batch.var * batch.entries / (batch.entries - 1).clamp(min=1)
        self.running_mean += rate * (batch.mean - self.running_mean)
        self.running_var += rate * (unbiased - self.running_var)
