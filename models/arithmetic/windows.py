"""Windows of tokens: each is an image of its own for attention, Haar split and local convolution.

Shifted windows (Swin, arXiv 2103.14030) wrap around the edges of the grid; a mask keeps tokens apart that are
neighbours only so.
"""

from array_api_compat import array_namespace

from haarlequin.models.arithmetic.fixed import Array


def to_windows(x: Array, grid: tuple[int, int], window: int, shift: int = 0) -> Array:
    """(B, N, C) on the ``grid`` → (B·windows, window², C), windows row by row; the first begins at token
    (shift, shift).
    """
    xp = array_namespace(x)
    (batch, _, channels), (rows, columns) = x.shape, grid
    tokens = xp.reshape(x, (batch, rows, columns, channels))
    if shift:
        tokens = xp.roll(tokens, (-shift, -shift), axis=(1, 2))
    down, across, size = rows // window, columns // window, window * window
    tiles = xp.reshape(tokens, (batch, down, window, across, window, channels))
    return xp.reshape(xp.permute_dims(tiles, (0, 1, 3, 2, 4, 5)), (batch * down * across, size, channels))


def from_windows(x: Array, grid: tuple[int, int], window: int, shift: int = 0) -> Array:
    """The inverse of `to_windows`."""
    xp, channels, (rows, columns) = array_namespace(x), x.shape[-1], grid
    down, across = rows // window, columns // window
    batch = x.shape[0] // (down * across)
    tiles = xp.reshape(x, (batch, down, across, window, window, channels))
    tokens = xp.reshape(xp.permute_dims(tiles, (0, 1, 3, 2, 4, 5)), (batch, rows, columns, channels))
    if shift:
        tokens = xp.roll(tokens, (shift, shift), axis=(1, 2))
    return xp.reshape(tokens, (batch, rows * columns, channels))


def allowed_pairs(grid: tuple[int, int], window: int, shift: int) -> list[list[list[int]]]:
    """For each window, (window², window²) of 0 and 1: whether two tokens are on the same side of the edges
    that a shifted window wraps around.
    """
    rows, columns = grid

    def sides(size: int) -> list[list[bool]]:
        """For each window along an axis, whether its rows (or columns) lie beyond the edge."""
        return [[start + i + shift >= size for i in range(window)] for start in range(0, size, window)]

    masks = []
    for beyond_rows in sides(rows):
        for beyond_columns in sides(columns):
            side = [(row, column) for row in beyond_rows for column in beyond_columns]
            masks.append([[int(a == b) for b in side] for a in side])
    return masks
