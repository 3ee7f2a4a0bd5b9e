"""What every pair of AUs has in common, without its attention in memory.

Shapes: B faces, A AUs, V visible tokens, r inner width. Masks: True = visible. Pair (i, j): queries of j, keys of i.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

HELD = {"cpu": 1 << 20, "cuda": 1 << 26}  # numbers of attention at once: what a cache holds, what fills a GPU


class PairAttention(torch.autograd.Function):
    """Attention (V, V) of each pair of AUs, of which only two sums over the tokens t that ask are wanted.

    The B·A² attentions are made a chunk at a time, and anew for the gradients: memory grows with A·V², not A²·V².

    Call `apply(queries, keys, gram, valid)`:
        queries, keys: (B, A, V, r), already scaled.
        gram: (B, A, V, V), symmetric, inner products of the values of AU i; None where `squares` is not wanted.
        valid: (B, V) bool, False = padding, which neither asks nor is attended to; None = all are real.

    Returns `share` (B, A, A, V), the tokens' mean of their attentions a_t, and `squares` (A, A), Σ_t a_tᵀ·gram·a_t over
    all faces (0 without `gram`).
    """

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, keys: Tensor, gram: Tensor | None, valid: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        B, A, V, _ = queries.shape
        full = torch.promote_types(queries.dtype, torch.float32)
        share = queries.new_zeros(B, A, A, V, dtype=full)
        squares = queries.new_zeros(A, A, dtype=full)
        asks = queries.new_ones(B, V, dtype=full) if valid is None else valid.to(full)
        mean = (asks / asks.sum(1, keepdim=True).clamp(min=1))[:, None, None]  # (B, 1, 1, V)
        with torch.autocast(queries.device.type, enabled=False):
            for faces, i in _chunks(queries):
                a = _attention(queries, keys, valid, faces, i)  # (b, A·V, V)
                share[faces, i] = (mean[faces] @ a.unflatten(1, (A, V)))[:, :, 0]
                if gram is not None:
                    each = (_times(a, gram[faces, i]) * a).sum(-1).unflatten(1, (A, V))
                    squares[i] += torch.einsum("bjt,bt->j", each, asks[faces])
        ctx.save_for_backward(queries, keys, gram, valid)
        return share, squares

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_share: Tensor, to_squares: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, gram, valid = ctx.saved_tensors
        B, A, V, _ = queries.shape
        asks = to_share.new_ones(B, V) if valid is None else valid.to(to_share.dtype)
        to_share = to_share / asks.sum(1).clamp(min=1)[:, None, None, None]  # (B, A, A, V)
        to_queries, to_keys = torch.zeros_like(queries), torch.empty_like(keys)
        to_gram = None if gram is None else torch.empty_like(gram)
        with torch.autocast(queries.device.type, enabled=False):
            for faces, i in _chunks(queries):
                a = _attention(queries, keys, valid, faces, i)  # (b, A·V, V)
                if gram is None or to_gram is None:
                    to_a = to_share[faces, i, :, None].expand(-1, -1, V, -1).reshape(a.shape)
                else:
                    weight = to_squares[i, :, None] * asks[faces, None]  # (b, A, V)
                    weight = weight.flatten(1)[..., None]
                    to_gram[faces, i] = _times((a * weight).transpose(1, 2), a).to(gram.dtype)
                    to_a = _times(a, gram[faces, i]).mul_(2 * weight)
                    to_a.unflatten(1, (A, V)).add_(to_share[faces, i, :, None])
                to_scores = torch._softmax_backward_data(to_a, a, -1, a.dtype)
                if valid is not None:
                    to_scores.unflatten(1, (A, V)).mul_(asks[faces, None, :, None])
                to_scores = to_scores.to(queries.dtype)
                to_queries[faces] += (to_scores @ keys[faces, i]).unflatten(1, (A, V))
                to_keys[faces, i] = to_scores.transpose(1, 2) @ queries[faces].flatten(1, 2)
        return to_queries, to_keys, to_gram, None


def _chunks(queries: Tensor) -> Iterator[tuple[slice, int]]:
    """Faces and row i of their pairs, so many at once as are held."""
    B, A, V, _ = queries.shape
    faces = max(1, HELD.get(queries.device.type, HELD["cuda"]) // max(1, A * V * V))
    for start in range(0, B, faces):
        for i in range(A):
            yield slice(start, start + faces), i


def _attention(queries: Tensor, keys: Tensor, valid: Tensor | None, faces: slice, i: int) -> Tensor:
    """Attention of the tokens of all AUs j to those of AU i, (b, A·V, V), at least in single precision."""
    scores = queries[faces].flatten(1, 2) @ keys[faces, i].transpose(1, 2)
    if valid is not None:
        # not -inf: a face without visible tokens must not become NaN
        scores.masked_fill_(~valid[faces, None], torch.finfo(scores.dtype).min)
    return scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))


def _times(a: Tensor, b: Tensor) -> Tensor:
    """The product in the precision of `b`, summed up further in that of `a`."""
    return (a.to(b.dtype) @ b).to(a.dtype)
