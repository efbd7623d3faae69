"""Shortcuts around the two linears of the MLP, whose widths differ by a factor r."""

from torch import Tensor

from haarlequin.models.arithmetic.fixed import shift_right


def repeat_channels(x: Tensor, repeats: int) -> Tensor:
    """(..., C) → (..., r·C): channel repeat·C + c is x_c."""
    return x.repeat(*[1] * (x.dim() - 1), repeats)


def mean_of_repeats(u: Tensor, repeats: int) -> Tensor:
    """(..., r·C) → (..., C): Σ over the r repeats of channel c of (u >> log2 r); r a power of two.

    Shifted before it is summed, the mean never outgrows a wide word: a machine accumulates it in place.
    """
    shifted = shift_right(u, repeats.bit_length() - 1)
    return shifted.unflatten(-1, (repeats, -1)).sum(-2, dtype=u.dtype)
