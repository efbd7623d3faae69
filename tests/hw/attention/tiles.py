"""Tiles of scores, as `RowMaximum` and `BinarySoftmax` take them."""

from tests.hw.bench import simulate


def tiles_of(row, lanes, noise):
    """Scores and key mask of a row's tiles; lanes without a key hold noise."""
    for start in range(0, len(row), lanes):
        keys = row[start : start + lanes]
        yield [*keys, *(noise() for _ in range(lanes - len(keys)))], (1 << len(keys)) - 1


def packed(values, bits):
    return sum(value << i * bits for i, value in enumerate(values))


def row_maxima(block, heads, generator, gaps):
    """The row maxima of each head, given its scores (rows × keys) a tile of keys after the other."""
    top = (1 << block.score_bits) - 1
    filler = 0, ([top] * block.lanes, (1 << block.lanes) - 1), True
    maxima = []

    async def testbench(context):
        for head in heads:
            rows = [list(tiles_of(row, block.lanes, lambda: generator.choice([0, top]))) for row in head]
            passes = enumerate(zip(*rows, strict=True))
            tiles = [(row, tile, t == 0) for t, column in passes for row, tile in enumerate(column)]
            while tiles:
                sent = generator.random() >= gaps
                row, (scores, keys), first = tiles.pop(0) if sent else filler
                tile = {"scores": packed(scores, block.score_bits), "keys": keys, "row": row, "first": first}
                context.set(block.tiles.valid, sent)
                context.set(block.tiles.p, tile)
                context.set(block.query, generator.randrange(block.max_rows))  # asked for by nobody
                await context.tick()
            context.set(block.tiles.valid, 0)
            for _ in range(block.latency - 1):
                await context.tick()
            found = {}
            for row in reversed(range(len(head))):  # first the one that came last
                context.set(block.query, row)
                await context.tick()
                found[row] = context.get(block.maximum)
            maxima.append([found[row] for row in range(len(head))])

    simulate(block, testbench)
    return maxima
