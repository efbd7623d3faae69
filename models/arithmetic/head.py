"""Pooling and the classifier: the multi-bit last layer."""

from array_api_compat import array_namespace

from haarlequin.models.arithmetic.affine import affine
from haarlequin.models.arithmetic.fixed import Array, exact_matmul, sat


def pool(x: Array) -> Array:
    """Σ_n x: (..., N, C) → int64 (..., C), not saturated; the mean's 1/N folds into the affine after it."""
    xp = array_namespace(x)
    return xp.sum(x, axis=-2, dtype=xp.int64)


def head(
    pooled: Array, a: Array, b: Array, shift: int, weight: Array, bias: Array, feature_bits: int
) -> Array:
    """v = sat(affine(pooled), feature_bits); logits = W·v + bias.

    weight (classes, C) int8, bias (classes,) int32; the logits fit int32.
    """
    v = sat(affine(pooled, a, b, shift), feature_bits)
    return exact_matmul(v, weight.T, weight.shape[-1] * 128 << (feature_bits - 1)) + bias


def token_logits(acc: Array, a: Array, b: Array, shift: int, wide_bits: int) -> Array:
    """sat(affine(acc)): the logits of each token, (B, N, classes), from its binary linear."""
    return sat(affine(acc, a, b, shift), wide_bits)
