"""Patch embedding: the multi-bit first layer."""

from torch import Tensor

from haarlequin.models.arithmetic.affine import affine
from haarlequin.models.arithmetic.fixed import exact_matmul, sat, shift_right


def patches(pixels: Tensor, patch: int) -> Tensor:
    """(B, H, W, channels) → (B, N, patch·patch·channels): tokens row by row; within one, row, column,
    channel.
    """
    batch, height, width, channels = pixels.shape
    tiles = pixels.reshape(batch, height // patch, patch, width // patch, patch, channels)
    return tiles.transpose(2, 3).flatten(3).flatten(1, 2)


def embedding(
    pixels: Tensor,
    weight: Tensor,
    bias: Tensor,
    acc_shift: int,
    a: Tensor,
    b: Tensor,
    shift: int,
    position: Tensor,
    patch: int,
    wide_bits: int,
) -> Tensor:
    """x = sat(sat(affine((W·(pixel − 128) + bias) >> acc_shift)) + position).

    pixels (B, H, W, channels) in 0..255; weight (C, patch²·channels) int8; bias (C,) int32; position (N, C);
    (B, N, C).
    """
    p = patches(pixels, patch) - 128
    acc = exact_matmul(p, weight.T, weight.shape[-1] * 128 * 128) + bias
    return sat(sat(affine(shift_right(acc, acc_shift), a, b, shift), wide_bits) + position, wide_bits)
