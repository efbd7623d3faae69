"""Signs and the binary linear layer.

A sign is held as ±1 here and as one bit in the machine (1 means +1), so that over K bits
Σ a_k·b_k = 2·popcount(a xnor b) − K.
"""

from torch import Tensor, iinfo

from haarlequin.models.arithmetic.fixed import exact_matmul


def sign(value: Tensor, move: Tensor | int = 0) -> Tensor:
    """sign(value + move) of integers, with sign(0) = +1: +1 where value ≥ −move, −1 elsewhere."""
    shifted = value + move
    # All bits of the sign, and the lowest set: far faster than a selection.
    return shifted >> (iinfo(shifted.dtype).bits - 1) | 1


def binary_linear(signs: Tensor, weight: Tensor) -> Tensor:
    """W·s: dot products of K signs (..., K) with the rows of a ±1 weight (M, K); (..., M), in [−K, K]."""
    return exact_matmul(signs, weight.T, weight.shape[-1])
