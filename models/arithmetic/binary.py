"""Signs and the binary linear layer.

A sign is held as ±1 here and as one bit in the machine (1 means +1), so that over K bits
Σ a_k·b_k = 2·popcount(a xnor b) − K.
"""

from array_api_compat import array_namespace

from haarlequin.models.arithmetic.fixed import Array, exact_matmul


def sign(value: Array, move: Array | int = 0) -> Array:
    """sign(value + move) of integers, with sign(0) = +1: +1 where value ≥ −move, −1 elsewhere."""
    shifted = value + move
    bits = array_namespace(shifted).iinfo(shifted.dtype).bits
    # The shift copies the sign bit to all bits, which `| 1` makes −1 or +1: far faster than a selection.
    return shifted >> (bits - 1) | 1


def binary_linear(signs: Array, weight: Array) -> Array:
    """W·s: dot products of K signs (..., K) with the rows of a ±1 weight (M, K); (..., M), in [−K, K]."""
    return exact_matmul(signs, weight.T, weight.shape[-1])
