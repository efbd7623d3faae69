"""The arithmetic of docs/arithmetic.md once more, in lists and Python integers only: what tests compare with.

Written from the formulas, not from the code, and where a formula has a second form, in that one: dot products
by popcount, rounding by doubling, DIBA as differences. One image: x[token][channel], signs −1 and +1,
Â as attention[head][query][key].
"""

from decimal import Decimal, localcontext

Row = list[int]
Matrix = list[Row]
Cube = list[Matrix]


def saturate(value: int, bits: int) -> int:
    low = -(2 ** (bits - 1))
    return low if value < low else min(value, -low - 1)


def halves_up(value: int, shift: int) -> int:
    """value / 2^shift to the nearest integer, halves towards +∞."""
    return (2 * value + 2**shift) // 2 ** (shift + 1)


def matmul(left: Matrix, right: Matrix) -> Matrix:
    return [
        [sum(a * b for a, b in zip(row, column, strict=True)) for column in columns(right)] for row in left
    ]


def columns(matrix: Matrix) -> Matrix:
    return [list(column) for column in zip(*matrix, strict=True)]


def affine(acc: int, a: int, b: int, shift: int) -> int:
    return halves_up(a * acc, shift) + b


def sign(value: int, move: int = 0) -> int:
    return 1 if value >= -move else -1


def pack(signs: Row) -> int:
    """Bit k is 1 where signs[k] is +1 (or 1 of a row of Â)."""
    return sum(1 << k for k, s in enumerate(signs) if s > 0)


def xnor_popcount(left: int, right: int, bits: int) -> int:
    return (~(left ^ right) & ((1 << bits) - 1)).bit_count()


def dot(left: Row, right: Row) -> int:
    return 2 * xnor_popcount(pack(left), pack(right), len(left)) - len(left)


def binary_linear(signs: Matrix, weight: Matrix) -> Matrix:
    return [[dot(row, weights) for weights in weight] for row in signs]


def binary_convolution(signs: Matrix, weight: list[Cube], grid: tuple[int, int]) -> Matrix:
    """weight[output][channel][row][column]: dot products of all that a token sees, +1 outside the grid."""
    rows, columns = grid
    nowhere = [1] * len(signs[0])
    taps = [(k, m) for k in range(3) for m in range(3)]
    flat = [[plane[k][m] for k, m in taps for plane in cube] for cube in weight]
    result = []
    for n in range(len(signs)):
        around = [(n // columns + k - 1, n % columns + m - 1) for k, m in taps]
        inside = [0 <= i < rows and 0 <= j < columns for i, j in around]
        tokens = [
            signs[i * columns + j] if there else nowhere for (i, j), there in zip(around, inside, strict=True)
        ]
        seen = [sign for token in tokens for sign in token]
        result.append([dot(seen, row) for row in flat])
    return result


def haar(x: Matrix, grid: tuple[int, int], bits: int) -> tuple[Matrix, Matrix]:
    rows, columns = grid
    lo, hi = [], []
    for n, token in enumerate(x):
        i, j = divmod(n, columns)
        window = [(i, j), (i, min(j + 1, columns - 1)), (min(i + 1, rows - 1), j)]
        window.append((min(i + 1, rows - 1), min(j + 1, columns - 1)))
        lo.append([sum(x[k * columns + m][c] for k, m in window) // 4 for c in range(len(token))])
        hi.append([saturate(token[c] - lo[n][c], bits) for c in range(len(token))])
    return lo, hi


def split_heads(x: Matrix, heads: int) -> Cube:
    d = len(x[0]) // heads
    return [[token[h * d : (h + 1) * d] for token in x] for h in range(heads)]


def scores(bands: list[tuple[Matrix, Matrix, int]], heads: int) -> Cube:
    split = [(split_heads(query, heads), split_heads(key, heads), weight) for query, key, weight in bands]
    tokens = range(len(bands[0][0]))
    return [
        [[sum(w * dot(q[h][i], k[h][j]) for q, k, w in split) for j in tokens] for i in tokens]
        for h in range(heads)
    ]


def exp_table(entries: int, bits: int, step: float) -> Row:
    with localcontext() as context:
        context.prec = 40
        values = [(-k * Decimal(step)).exp() * (2**bits - 1) for k in range(entries)]
        return [int(value.to_integral_value("ROUND_HALF_EVEN")) for value in values]


def softmax_bits(
    row: Row, table: Row, shift: int, threshold: int, fraction: int, allowed: Row | None = None
) -> Row:
    """Â of one query's scores. Keys that are not ``allowed`` are as if they were not there, and 0."""
    if allowed is not None:
        among = [score for score, kept in zip(row, allowed, strict=True) if kept]
        bits = iter(softmax_bits(among, table, shift, threshold, fraction))
        return [next(bits) if kept else 0 for kept in allowed]
    e = [table[min((max(row) - score) // 2**shift, len(table) - 1)] for score in row]
    return [int(value * 2**fraction >= threshold * sum(e)) for value in e]


def context(attention: Cube, v: Matrix) -> Matrix:
    """ΣÂV = popcount(xnor(Â, V)) + popcount(V) − N."""
    tokens, channels = len(v), len(v[0])
    packed = [pack(column) for column in columns(v)]
    head = [c // (channels // len(attention)) for c in range(channels)]
    return [
        [
            xnor_popcount(pack(attention[head[c]][i]), packed[c], tokens) + packed[c].bit_count() - tokens
            for c in range(channels)
        ]
        for i in range(tokens)
    ]


def differential(attention: Cube, v: Matrix, own_shift: Row | None = None) -> Matrix:
    """V_i less once more for every token attended to, over 2^own_shift_c."""
    d, shifts = len(v[0]) // len(attention), own_shift or [0] * len(v[0])
    return [
        [halves_up(s - sum(s for bit in attention[c // d][i] if bit), shifts[c]) for c, s in enumerate(v[i])]
        for i in range(len(v))
    ]


def local_convolution(v: Matrix, weight: Cube, grid: tuple[int, int]) -> Matrix:
    rows, columns = grid
    theta = len(weight[0])
    result = []
    for n in range(len(v)):
        i, j = divmod(n, columns)
        taps = [
            (i + k - theta // 2, j + m - theta // 2, k, m)
            for k in range(theta)
            for m in range(theta)
            if 0 <= i + k - theta // 2 < rows and 0 <= j + m - theta // 2 < columns
        ]
        result.append(
            [sum(v[y * columns + x][c] * w[k][m] for y, x, k, m in taps) for c, w in enumerate(weight)]
        )
    return result


def diba(
    attention: Cube,
    v: Matrix,
    weight: Cube,
    local_shift: Row,
    grid: tuple[int, int],
    own: bool = True,
    own_shift: Row | None = None,
) -> Matrix:
    """V_i + Σ_{j: Â_ij = 1} (V_j − V_i) + local_i·2^s_c; else its three terms, the own one scaled or 0."""
    if own_shift or not own:
        terms = [context(attention, v), local_convolution(v, weight, grid)]
        terms.append(differential(attention, v, own_shift) if own else [[0] * len(v[0]) for _ in v])
        return [
            [a + b * 2**s + c for a, b, s, c in zip(mixed, taps, local_shift, extra, strict=True)]
            for mixed, taps, extra in zip(*terms, strict=True)
        ]
    d, local = len(v[0]) // len(attention), local_convolution(v, weight, grid)
    return [
        [
            own
            + sum(v[j][c] - own for j, bit in enumerate(attention[c // d][i]) if bit)
            + local[i][c] * 2 ** local_shift[c]
            for c, own in enumerate(v[i])
        ]
        for i in range(len(v))
    ]


def irprelu(
    value: int,
    positive: int,
    negative: int,
    offset: int,
    token: int,
    shift: int,
    bits: int,
    residual: int = 0,
) -> int:
    d = saturate(value, bits)
    return saturate(halves_up(d * (negative if d < 0 else positive), shift) + offset + token + residual, bits)


def repeat_channels(x: Matrix, repeats: int) -> Matrix:
    return [token * repeats for token in x]


def mean_of_repeats(u: Matrix, repeats: int) -> Matrix:
    channels = len(u[0]) // repeats
    return [[sum(v // repeats for v in token[c::channels]) for c in range(channels)] for token in u]


def patches(pixels: Cube, patch: int) -> Matrix:
    """pixels[row][column][channel] → token, its values in the order row, column, channel."""
    corners = [(i, j) for i in range(0, len(pixels), patch) for j in range(0, len(pixels[0]), patch)]
    square = [(k, m) for k in range(patch) for m in range(patch)]
    return [[value for k, m in square for value in pixels[i + k][j + m]] for i, j in corners]


def neighbourhoods(pixels: Cube, stride: int) -> Matrix:
    """pixels[row][column][channel] → token: the 3×3 pixels around it, grey ones of 128 outside the image."""
    height, width = len(pixels), len(pixels[0])
    grey = [128] * len(pixels[0][0])
    frame = [grey] * (width + 2)
    framed = [frame, *([grey, *line, grey] for line in pixels), frame]
    return [
        [value for line in framed[i : i + 3] for pixel in line[j : j + 3] for value in pixel]
        for i in range(0, height, stride)
        for j in range(0, width, stride)
    ]


def embedding(
    values: Matrix,
    weight: Matrix,
    bias: Row,
    acc_shift: int,
    a: Row,
    b: Row,
    shift: int,
    position: Matrix | None,
    bits: int,
) -> Matrix:
    """Tokens of `patches` or `neighbourhoods`."""
    result = []
    for n, token in enumerate(values):
        acc = [sum((p - 128) * w for p, w in zip(token, row, strict=True)) for row in weight]
        x = [affine((acc[c] + bias[c]) // 2**acc_shift, a[c], b[c], shift) for c in range(len(weight))]
        x = [saturate(value, bits) for value in x]
        if position is not None:
            x = [saturate(value + position[n][c], bits) for c, value in enumerate(x)]
        result.append(x)
    return result


def merge_tokens(x: Matrix, grid: tuple[int, int]) -> Matrix:
    """The token above, its right neighbour, and the two below them, one after the other."""
    rows, columns = grid
    corners = [i * columns + j for i in range(0, rows, 2) for j in range(0, columns, 2)]
    return [x[n] + x[n + 1] + x[n + columns] + x[n + columns + 1] for n in corners]


def merge_shortcut(merged: Matrix, outputs: int) -> Matrix:
    inputs = len(merged[0])
    if outputs >= inputs:
        return [[token[d % inputs] for d in range(outputs)] for token in merged]
    groups = [[k * outputs + c for k in range(inputs // outputs)] for c in range(outputs)]
    return [[sum(token[k] // len(group) for k in group) for group in groups] for token in merged]


def windows(grid: tuple[int, int], size: int, shift: int) -> tuple[Matrix, list[list[tuple[int, int]]]]:
    """The tokens of each window by number, and the tile of each, where the grid is repeated as the tiles of
    a floor and windows begin ``shift`` tokens down and right of its corner.
    """
    rows, columns = grid
    tokens, tiles = [], []
    for top in range(shift, rows + shift, size):
        for left in range(shift, columns + shift, size):
            places = [(top + i, left + j) for i in range(size) for j in range(size)]
            tokens.append([i % rows * columns + j % columns for i, j in places])
            tiles.append([(i // rows, j // columns) for i, j in places])
    return tokens, tiles


def to_windows(x: Matrix, grid: tuple[int, int], size: int, shift: int = 0) -> Cube:
    return [[x[n] for n in window] for window in windows(grid, size, shift)[0]]


def from_windows(x: Cube, grid: tuple[int, int], size: int, shift: int = 0) -> Matrix:
    order = [n for window in windows(grid, size, shift)[0] for n in window]
    flat = [token for window in x for token in window]
    return [token for _, token in sorted(zip(order, flat, strict=True), key=lambda pair: pair[0])]


def allowed_pairs(grid: tuple[int, int], size: int, shift: int) -> Cube:
    """1 where both tokens are in the same tile, for each window."""
    return [[[int(a == b) for b in tiles] for a in tiles] for tiles in windows(grid, size, shift)[1]]


def pool(x: Matrix) -> Row:
    return [sum(column) for column in columns(x)]


def head(pooled: Row, a: Row, b: Row, shift: int, weight: Matrix, bias: Row, bits: int) -> Row:
    v = [saturate(affine(p, a[c], b[c], shift), bits) for c, p in enumerate(pooled)]
    return [sum(x * w for x, w in zip(v, row, strict=True)) + bias[m] for m, row in enumerate(weight)]


def token_logits(acc: Matrix, a: Row, b: Row, shift: int, bits: int) -> Matrix:
    return [[saturate(affine(v, a[c], b[c], shift), bits) for c, v in enumerate(token)] for token in acc]
