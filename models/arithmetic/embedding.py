"""Patch embedding: the multi-bit first layer."""

from array_api_compat import array_namespace

from haarlequin.models.arithmetic.affine import affine
from haarlequin.models.arithmetic.fixed import Array, exact_matmul, sat, shift_right


def patches(pixels: Array, patch: int) -> Array:
    """(B, H, W, channels) → (B, N, patch·patch·channels).

    Tokens are in the order row, column of the grid; values of a token in the order row, column, channel.
    """
    xp = array_namespace(pixels)
    batch, height, width, channels = pixels.shape
    rows, columns = height // patch, width // patch
    tiles = xp.reshape(pixels, (batch, rows, patch, columns, patch, channels))
    tokens = xp.permute_dims(tiles, (0, 1, 3, 2, 4, 5))
    return xp.reshape(tokens, (batch, rows * columns, patch * patch * channels))


def embedding(
    pixels: Array,
    weight: Array,
    bias: Array,
    acc_shift: int,
    a: Array,
    b: Array,
    shift: int,
    position: Array,
    patch: int,
    wide_bits: int,
) -> Array:
    """x = sat(sat(affine((W·(pixel − 128) + bias) >> acc_shift)) + position).

    pixels is (B, H, W, channels) of 0 to 255, weight (C, patch²·channels) int8, bias (C,) int32, position
    (N, C), and the result x (B, N, C).
    """
    p = patches(pixels, patch) - 128
    acc = exact_matmul(p, weight.T, weight.shape[-1] * 128 * 128) + bias
    return sat(sat(affine(shift_right(acc, acc_shift), a, b, shift), wide_bits) + position, wide_bits)
