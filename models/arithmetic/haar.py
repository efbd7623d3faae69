"""Non-downsampled 2-D Haar split of the token grid (HFSC's two bands)."""

from torch import Tensor, cat

from haarlequin.models.arithmetic.fixed import sat, shift_right


def haar_split(x: Tensor, grid: tuple[int, int], wide_bits: int) -> tuple[Tensor, Tensor]:
    """lo = (a + b + c + d) >> 2 over the window (i..i+1, j..j+1), bottom and right edge replicated; hi =
    sat(x − lo).

    x is (..., N, C), tokens row by row on the ``grid`` (rows, columns); lo and hi have its shape. lo cannot
    saturate.
    """
    tokens = x.unflatten(-2, grid)
    down = cat([tokens[..., 1:, :, :], tokens[..., -1:, :, :]], dim=-3)
    pair = tokens + down
    right = cat([pair[..., 1:, :], pair[..., -1:, :]], dim=-2)
    lo = shift_right(pair + right, 2).flatten(-3, -2)
    return lo, sat(x - lo, wide_bits)
