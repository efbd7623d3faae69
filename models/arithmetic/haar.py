"""The 2-D Haar split of the token grid into HFSC's two bands, without downsampling."""

from array_api_compat import array_namespace

from haarlequin.models.arithmetic.fixed import Array, sat, shift_right


def haar_split(x: Array, grid: tuple[int, int], wide_bits: int) -> tuple[Array, Array]:
    """The low band is the mean of a 2×2 window of tokens, the high band is x minus that mean.

    lo = (a + b + c + d) >> 2 over the window (i..i+1, j..j+1), with the bottom and the right edge replicated;
    it cannot saturate. hi = sat(x − lo). x is (..., N, C), with the tokens row by row on the ``grid`` (rows,
    columns); lo and hi have its shape.
    """
    xp = array_namespace(x)
    tokens = xp.reshape(x, (*x.shape[:-2], *grid, x.shape[-1]))
    down = xp.concat([tokens[..., 1:, :, :], tokens[..., -1:, :, :]], axis=-3)
    pair = tokens + down
    right = xp.concat([pair[..., 1:, :], pair[..., -1:, :]], axis=-2)
    lo = xp.reshape(shift_right(pair + right, 2), x.shape)
    return lo, sat(x - lo, wide_bits)
