"""The binary 3×3 convolution: nine binary linears, each of which sees the tokens shifted by one tap."""

from array_api_compat import array_namespace

from haarlequin.models.arithmetic.fixed import Array, exact_matmul


def binary_convolution(signs: Array, weight: Array, grid: tuple[int, int]) -> Array:
    """acc_n = Σ over the taps (i, j) of W_ij·s at the token (row + i − 1, column + j − 1).

    signs is (B, N, C) of ±1 on the ``grid`` (rows, columns), weight (M, C, 3, 3) of ±1, and the result
    (B, N, M), in [−9·C, 9·C]. Taps outside the grid see signs of +1 in all channels.
    """
    xp = array_namespace(signs)
    (batch, tokens, channels), (rows, columns) = signs.shape, grid
    padded = xp.ones((batch, rows + 2, columns + 2, channels), dtype=signs.dtype, device=signs.device)
    padded[:, 1:-1, 1:-1, :] = xp.reshape(signs, (batch, rows, columns, channels))
    taps = [padded[:, i : i + rows, j : j + columns, :] for i in range(3) for j in range(3)]
    seen = xp.reshape(xp.concat(taps, axis=-1), (batch, tokens, 9 * channels))
    # Taps first, as in `seen`: (M, C, 3, 3) → (M, 9·C).
    rows_of_weight = xp.reshape(xp.permute_dims(weight, (0, 2, 3, 1)), (-1, 9 * channels))
    return exact_matmul(seen, rows_of_weight.T, 9 * channels)
