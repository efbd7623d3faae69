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


def softmax_bits(row: Row, table: Row, shift: int, threshold: int, fraction: int) -> Row:
    """Â of one query's scores."""
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


def differential(attention: Cube, v: Matrix) -> Matrix:
    """V_i less once more for every token attended to."""
    d = len(v[0]) // len(attention)
    return [
        [s - sum(s for bit in attention[c // d][i] if bit) for c, s in enumerate(v[i])] for i in range(len(v))
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


def diba(attention: Cube, v: Matrix, weight: Cube, local_shift: Row, grid: tuple[int, int]) -> Matrix:
    """V_i + Σ_{j: Â_ij = 1} (V_j − V_i) + local_i·2^s_c."""
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


def embedding(
    pixels: Cube,
    weight: Matrix,
    bias: Row,
    acc_shift: int,
    a: Row,
    b: Row,
    shift: int,
    position: Matrix,
    patch: int,
    bits: int,
) -> Matrix:
    result = []
    for token, positions in zip(patches(pixels, patch), position, strict=True):
        acc = [sum((p - 128) * w for p, w in zip(token, row, strict=True)) for row in weight]
        x = [affine((acc[c] + bias[c]) // 2**acc_shift, a[c], b[c], shift) for c in range(len(weight))]
        result.append([saturate(saturate(x[c], bits) + positions[c], bits) for c in range(len(weight))])
    return result


def pool(x: Matrix) -> Row:
    return [sum(column) for column in columns(x)]


def head(pooled: Row, a: Row, b: Row, shift: int, weight: Matrix, bias: Row, bits: int) -> Row:
    v = [saturate(affine(p, a[c], b[c], shift), bits) for c, p in enumerate(pooled)]
    return [sum(x * w for x, w in zip(v, row, strict=True)) + bias[m] for m, row in enumerate(weight)]
