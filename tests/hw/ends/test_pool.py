import random
from dataclasses import dataclass

import pytest
import torch

from haarlequin.hw.ends.pool import Pool
from haarlequin.models import arithmetic
from tests.hw.bench import simulate

pytestmark = pytest.mark.slow

SILENCE = 20
"""Cycles after the last sum in which nothing more may come."""


@dataclass
class Tile:
    x: torch.Tensor
    """(tokens, lanes)."""
    count: int


def golden(tile):
    return arithmetic.pool(tile.x)[: tile.count].tolist()


def rtl(block, tiles, generator, gaps=0.0, stalls=0.0):
    """The sums of each tile, the next one beginning as soon as they have left or later."""
    results, waiting = [], []
    low, high = -(1 << block.wide - 1), (1 << block.wide - 1) - 1

    def noise(context):
        context.set(block.enable, 0)
        context.set(block.begins, generator.getrandbits(1))
        context.set(block.ends, generator.getrandbits(1))
        context.set(block.count, generator.randint(0, block.lanes))
        noise_of_x = [generator.choice([low, high]) for _ in range(block.lanes)]
        context.set(block.x, waiting.pop() if waiting else noise_of_x)  # a cycle after what is about it

    async def quiet(context):
        context.set(block.sums.ready, generator.getrandbits(1))
        assert not context.get(block.sums.valid)
        await context.tick()

    async def testbench(context):
        for tile in tiles:
            for token, x in enumerate(tile.x.tolist()):
                while generator.random() < gaps:
                    noise(context)
                    await quiet(context)
                noise(context)
                context.set(block.enable, 1)
                context.set(block.begins, token == 0)
                context.set(block.ends, token == len(tile.x) - 1)
                if token == len(tile.x) - 1:
                    context.set(block.count, tile.count)
                await quiet(context)
                waiting.append(x)
            noise(context)
            await quiet(context)
            sums = []
            while len(sums) < tile.count:
                noise(context)
                ready = generator.random() >= stalls
                context.set(block.sums.ready, ready)
                assert context.get(block.sums.valid)
                offered = context.get(block.sums.payload)
                if ready:
                    sums.append(offered)
                await context.tick()
            results.append(sums)
            for _ in range(generator.choice([0, 0, 3])):
                noise(context)
                await quiet(context)
        for _ in range(SILENCE):
            noise(context)
            await quiet(context)

    simulate(block, testbench)
    return results


def drawn(generator, tokens, lanes, count, wide):
    """Values of the full range, the first and the last tile of one extreme."""
    limit = 1 << wide - 1
    x = [
        torch.randint(-limit, limit, (tokens, lanes), generator=torch.Generator().manual_seed(seed))
        for seed in range(4)
    ]
    x[0], x[-1] = torch.full_like(x[0], -limit), torch.full_like(x[0], limit - 1)
    return [Tile(values, generator.choice([count, lanes])) for values in x]


@pytest.mark.parametrize(("gaps", "stalls"), [(0, 0), (0.4, 0), (0, 0.6), (0.4, 0.6)])
@pytest.mark.parametrize(
    ("lanes", "wide", "tokens", "count"),
    [(1, 12, 1, 1), (1, 12, 64, 1), (3, 12, 7, 2), (8, 12, 64, 8), (5, 16, 13, 1), (16, 12, 196, 11)],
)
def test_tiles_one_behind_the_other(lanes, wide, tokens, count, gaps, stalls):
    generator = random.Random(lanes * tokens)
    tiles = drawn(generator, tokens, lanes, count, wide)
    block = Pool(lanes, wide, tokens)
    assert rtl(block, tiles, generator, gaps, stalls) == [golden(tile) for tile in tiles]


def test_tiles_of_other_lengths_without_a_reset():
    generator = random.Random(0)
    lengths = [(9, 3), (1, 1), (2, 4), (16, 4), (1, 2), (5, 4)]
    tiles = [tile for n, count in lengths for tile in drawn(generator, n, 4, count, 12)]
    assert rtl(Pool(4, 12, 16), tiles, generator, 0.2, 0.3) == [golden(tile) for tile in tiles]


@pytest.mark.parametrize("argument", ["lanes", "wide", "max_tokens"])
@pytest.mark.parametrize("value", [0, -3, 2.0, "4"])
def test_a_size_that_is_none(argument, value):
    with pytest.raises(ValueError, match=rf"Pool {argument} must be a positive integer, not {value!r}"):
        Pool(**{"lanes": 2, "wide": 12, "max_tokens": 4} | {argument: value})
