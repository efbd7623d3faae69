"""Binary attention: integer scores, and a softmax that is needed only for a comparison with a threshold.

Â_ij = 1 where softmax(S)_ij ≥ β/2. With e_ij from the table EXP[k] = round(exp(−k·step)·(2^exp_bits − 1)),
the condition is e_ij / Σ_j e_ij ≥ τ / 2^F. Multiplied out it needs no division: e_ij << F ≥ τ·Σ_j e_ij.
"""

import math
from collections.abc import Sequence

from array_api_compat import array_namespace

from haarlequin.models.arithmetic.fixed import Array, clip, exact_matmul, shift_right


def exp_table(entries: int, bits: int, step: float) -> list[int]:
    """EXP[k] = round(exp(−k·step)·(2^bits − 1)) for k < entries; it never rises, and EXP[0] = 2^bits − 1."""
    return [round(math.exp(-k * step) * ((1 << bits) - 1)) for k in range(entries)]


def split_heads(x: Array, heads: int) -> Array:
    """(..., N, C) → (..., heads, N, d): channel c belongs to head c // d."""
    xp = array_namespace(x)
    return xp.moveaxis(xp.reshape(x, (*x.shape[:-1], heads, x.shape[-1] // heads)), -2, -3)


def scores(bands: Sequence[tuple[Array, Array, int]], heads: int) -> Array:
    """S = Σ_b w_b·Q_b·K_bᵀ over the bands (Q, K, w); (..., heads, N, N).

    Q and K are signs (..., N, C); the weights w are integers ≥ 0.
    """
    total: Array = 0
    for query, key, weight in bands:
        q, k = split_heads(query, heads), split_heads(key, heads)
        total = total + weight * exact_matmul(q, k.mT, q.shape[-1])
    return total


def binarise_softmax(
    scores: Array,
    table: Sequence[int],
    shift: int,
    threshold: Array,
    fraction: int,
    allowed: Array | None = None,
) -> Array:
    """Â (0 or 1) from scores (..., heads, N, N), along the last axis.

    e_ij = table[min((max_j S_ij − S_ij) >> shift, last)]; Â_ij = (e_ij << fraction ≥ threshold_h·Σ_j e_ij).
    ``threshold`` (heads,) is unsigned, with ``fraction`` fraction bits. The comparison is in int64, because
    both sides can exceed 2^32. Where ``allowed`` (..., 1, N, N), if given, is 0, e_ij is 0, and S_ij does not
    count for the maximum; then |S| must be below 2^28.
    """
    xp = array_namespace(scores)
    if allowed is not None:
        scores = scores - (1 - allowed) * (1 << 29)  # more than two scores of 2^28 can differ by
    distance = shift_right(xp.max(scores, axis=-1, keepdims=True) - scores, shift)
    index = xp.reshape(xp.astype(clip(distance, None, len(table) - 1), xp.int64), (-1,))
    entries = xp.asarray(table, dtype=xp.int64, device=scores.device)
    e = xp.reshape(xp.take(entries, index, axis=0), scores.shape)
    if allowed is not None:
        e = e * allowed
    limit = xp.astype(threshold, xp.int64)[:, None, None] * xp.sum(e, axis=-1, keepdims=True)
    return xp.astype((e << fraction) >= limit, scores.dtype)
