"""Binary attention: integer scores, and the softmax that is only ever compared with a threshold.

Â_ij = 1 where softmax(S)_ij ≥ β/2. With e = EXP[...] a table of round(exp(−k·step)·(2^exp_bits − 1)) that is
A_ij = e_ij / Σ_j e_ij ≥ τ / 2^F, and multiplied out it needs no division: e_ij << F ≥ τ·Σ_j e_ij.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from haarlequin.models.arithmetic.fixed import exact_matmul, shift_right


def exp_table(entries: int, bits: int, step: float) -> Tensor:
    """EXP[k] = round(exp(−k·step)·(2^bits − 1)) for k < entries: int64, non-increasing, EXP[0] = 2^bits
    − 1.
    """
    k = torch.arange(entries, dtype=torch.float64)
    return (torch.exp(-k * step) * ((1 << bits) - 1)).round().long()


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(..., N, C) → (..., heads, N, d): channel c belongs to head c // d."""
    return x.unflatten(-1, (heads, -1)).transpose(-2, -3)


def scores(bands: Sequence[tuple[Tensor, Tensor, int]], heads: int) -> Tensor:
    """S = Σ_b w_b·Q_b·K_bᵀ over the bands (Q, K, w): signs (..., N, C), integer weights w ≥ 0; (..., heads,
    N, N).
    """
    total = None
    for query, key, weight in bands:
        q, k = split_heads(query, heads), split_heads(key, heads)
        band = weight * exact_matmul(q, k.transpose(-1, -2), q.shape[-1])
        total = band if total is None else total + band
    return total


def binarise_softmax(scores: Tensor, table: Tensor, shift: int, threshold: Tensor, fraction: int) -> Tensor:
    """Â (0 or 1) from scores (..., heads, N, N), along the last axis.

    e_ij = table[min((max_j S_ij − S_ij) >> shift, last)]; Â_ij = (e_ij << fraction ≥ threshold_h·Σ_j e_ij),
    the ``threshold`` (heads,) unsigned with ``fraction`` fraction bits. The compare runs in int64: it can
    pass 2^32.
    """
    distance = shift_right(scores.amax(-1, keepdim=True) - scores, shift).clamp(max=len(table) - 1)
    e = table.long()[distance.long()]
    chosen = (e << fraction) >= threshold.long()[:, None, None] * e.sum(-1, keepdim=True)
    return chosen.to(scores.dtype)
