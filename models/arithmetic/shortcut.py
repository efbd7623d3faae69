"""Shortcuts around the two linears of the MLP, whose widths differ by a factor r."""

from array_api_compat import array_namespace

from haarlequin.models.arithmetic.fixed import Array, shift_right


def repeat_channels(x: Array, repeats: int) -> Array:
    """(..., C) → (..., r·C): channel repeat·C + c is x_c."""
    return array_namespace(x).concat([x] * repeats, axis=-1)


def mean_of_repeats(u: Array, repeats: int) -> Array:
    """(..., r·C) → (..., C): Σ over the r repeats of channel c of (u >> log2 r); r a power of two.

    Each u is shifted before it is summed, so that no partial sum outgrows a wide word: the machine can
    accumulate in place.
    """
    xp = array_namespace(u)
    shifted = shift_right(u, repeats.bit_length() - 1)
    split = xp.reshape(shifted, (*u.shape[:-1], repeats, u.shape[-1] // repeats))
    return xp.sum(split, axis=-2, dtype=u.dtype)
