"""The merge of 2×2 tokens into one, between two stages."""

from array_api_compat import array_namespace

from haarlequin.models.arithmetic.fixed import Array
from haarlequin.models.arithmetic.shortcut import mean_of_repeats, repeat_channels


def merge_tokens(x: Array, grid: tuple[int, int]) -> Array:
    """(B, N, C) on the ``grid`` (rows, columns) → (B, N/4, 4·C): 2×2 tokens side by side.

    Channel k·C + c is channel c of the token in row k // 2 and column k % 2 of the four.
    """
    xp = array_namespace(x)
    (batch, tokens, channels), (rows, columns) = x.shape, grid
    tiles = xp.reshape(x, (batch, rows // 2, 2, columns // 2, 2, channels))
    return xp.reshape(xp.permute_dims(tiles, (0, 1, 3, 2, 4, 5)), (batch, tokens // 4, 4 * channels))


def merge_shortcut(merged: Array, outputs: int) -> Array:
    """The shortcut of a merge, from 4·C to ``outputs`` channels: `mean_of_repeats` where these are fewer,
    `repeat_channels` where they are more, and the four tokens themselves where they are as many.
    """
    inputs = merged.shape[-1]
    if outputs < inputs:
        return mean_of_repeats(merged, inputs // outputs)
    return repeat_channels(merged, outputs // inputs)
