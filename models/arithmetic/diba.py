"""DIBA (arXiv 2507.02222): the context of binary attention, its differential term, its local convolution."""

from array_api_compat import array_namespace

from haarlequin.models.arithmetic.fixed import Array, exact_matmul
from haarlequin.models.arithmetic.softmax import split_heads


def context(attention: Array, v: Array) -> Array:
    """Σ_j Â_ij·V_j: attention (..., heads, N, N) of 0 and 1, v (..., N, C) of ±1; (..., N, C), in [−N, N]."""
    xp, heads, tokens = array_namespace(v), attention.shape[-3], attention.shape[-1]
    mixed = exact_matmul(attention, split_heads(v, heads), tokens)
    return xp.reshape(xp.moveaxis(mixed, -3, -2), v.shape)


def differential(attention: Array, v: Array, own_shift: Array | None = None) -> Array:
    """(1 − k_i)·V_i with k_i = Σ_j Â_ij counted per head.

    Added to `context`, it gives V_i + Σ_{j: Â_ij = 1} (V_j − V_i). ``own_shift`` (C,), if given, multiplies
    channel c by 2^−own_shift_c, to the nearest integer, halves up.
    """
    xp, heads = array_namespace(v), attention.shape[-3]
    k = xp.moveaxis(xp.sum(attention, axis=-1, dtype=v.dtype), -2, -1)  # (..., N, heads)
    per_head = xp.reshape(v, (*v.shape[:-1], heads, v.shape[-1] // heads))
    own = xp.reshape((1 - k)[..., None] * per_head, v.shape)
    if own_shift is None:
        return own
    return (own + ((1 << own_shift) >> 1)) >> own_shift


def local_convolution(v: Array, weight: Array, grid: tuple[int, int]) -> Array:
    """Binary depthwise θ×θ convolution of V around each token; taps outside the grid count as 0.

    v is (B, N, C) of ±1, weight (C, θ, θ) of ±1, and the result (B, N, C), in [−θ², θ²]. As in PyTorch it is
    a correlation: weight[c, θ//2, θ//2] is the tap of the token itself.
    """
    xp, theta = array_namespace(v), weight.shape[-1]
    (batch, _, channels), (rows, columns), edge = v.shape, grid, theta // 2
    padded = xp.zeros((batch, rows + 2 * edge, columns + 2 * edge, channels), dtype=v.dtype, device=v.device)
    padded[:, edge : edge + rows, edge : edge + columns, :] = xp.reshape(v, (batch, rows, columns, channels))
    total = xp.zeros_like(padded[:, :rows, :columns, :])
    for i in range(theta):
        for j in range(theta):
            total += weight[:, i, j] * padded[:, i : i + rows, j : j + columns, :]
    return xp.reshape(total, v.shape)


def diba(
    attention: Array,
    v: Array,
    weight: Array,
    local_shift: Array,
    grid: tuple[int, int],
    own: bool = True,
    own_shift: Array | None = None,
) -> Array:
    """acc = Σ_j Â_ij·V_j + (1 − k_i)·V_i + (θ×θ convolution of V)·2^local_shift_c; (B, N, C).

    The second term is left out without ``own``, and has the ``own_shift`` of `differential`.
    """
    acc = context(attention, v) + (local_convolution(v, weight, grid) << local_shift)
    return acc + differential(attention, v, own_shift) if own else acc
