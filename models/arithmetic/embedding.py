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


def neighbourhoods(pixels: Array, stride: int) -> Array:
    """(B, H, W, channels) → (B, N, 9·channels): 3×3 pixels around every ``stride``-th one of each axis, from
    the first on. Pixels outside the image are 128. The order is that of `patches`.
    """
    xp = array_namespace(pixels)
    batch, height, width, channels = pixels.shape
    padded = xp.full((batch, height + 2, width + 2, channels), 128, dtype=pixels.dtype, device=pixels.device)
    padded[:, 1:-1, 1:-1, :] = pixels
    taps = [padded[:, i : i + height : stride, j : j + width : stride, :] for i in range(3) for j in range(3)]
    tokens = -(-height // stride) * -(-width // stride)  # not −1, which a batch of 0 refuses
    return xp.reshape(xp.concat(taps, axis=-1), (batch, tokens, 9 * channels))


def embedding(
    values: Array,
    weight: Array,
    bias: Array,
    acc_shift: int,
    a: Array,
    b: Array,
    shift: int,
    position: Array | int,
    wide_bits: int,
) -> Array:
    """x = sat(sat(affine((W·(value − 128) + bias) >> acc_shift)) + position).

    values is (B, N, length) of 0 to 255, the `patches` or `neighbourhoods` of an image; weight (C, length)
    int8, bias (C,) int32, position (N, C), or 0 where there is none, and the result x (B, N, C).
    """
    acc = exact_matmul(values - 128, weight.T, weight.shape[-1] * 128 * 128) + bias
    return sat(sat(affine(shift_right(acc, acc_shift), a, b, shift), wide_bits) + position, wide_bits)
