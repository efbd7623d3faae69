"""Pooling and the classifier: the multi-bit last layer."""

from torch import Tensor

from haarlequin.models.arithmetic.affine import affine
from haarlequin.models.arithmetic.fixed import exact_matmul, sat


def pool(x: Tensor) -> Tensor:
    """Σ_n x: (..., N, C) → int64 (..., C), unsaturated; the mean's 1/N folds into the affine behind it."""
    return x.sum(-2)


def head(
    pooled: Tensor, a: Tensor, b: Tensor, shift: int, weight: Tensor, bias: Tensor, feature_bits: int
) -> Tensor:
    """v = sat(affine(pooled), feature_bits); logits = W·v + bias: weight (classes, C) int8, bias int32,
    logits int32.
    """
    v = sat(affine(pooled, a, b, shift), feature_bits)
    return exact_matmul(v, weight.T, weight.shape[-1] * 128 << (feature_bits - 1)) + bias
