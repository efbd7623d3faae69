"""The affine that a BatchNorm folds into."""

from haarlequin.models.arithmetic.fixed import Array, round_shift


def affine(acc: Array, a: Array, b: Array, shift: int) -> Array:
    """((a_c·acc + 2^(shift−1)) >> shift) + b_c, not saturated.

    Channel c is the last axis of ``acc``; ``a`` and ``b`` are (C,), and ``b`` is in the scale of the result.
    """
    return round_shift(a * acc, shift) + b
