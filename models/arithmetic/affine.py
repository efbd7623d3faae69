"""The affine that a BatchNorm folds into."""

from torch import Tensor

from haarlequin.models.arithmetic.fixed import round_shift


def affine(acc: Tensor, a: Tensor, b: Tensor, shift: int) -> Tensor:
    """((a_c·acc + 2^(shift−1)) >> shift) + b_c, channel c last; b in the scale of the result; not
    saturated.
    """
    return round_shift(a * acc, shift) + b
