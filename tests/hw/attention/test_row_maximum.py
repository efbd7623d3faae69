import random

import pytest

from haarlequin.hw.attention.row_maximum import RowMaximum
from tests.hw.attention.tiles import packed, row_maxima
from tests.hw.bench import simulate

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("gaps", [0, 0.4])
@pytest.mark.parametrize(("rows", "keys"), [(1, 1), (1, 48), (2, 9), (5, 3), (7, 16), (7, 17), (16, 31)])
@pytest.mark.parametrize("lanes", [1, 3, 8, 16])
def test_row_maxima_over_tiles_of_keys(lanes, rows, keys, gaps):
    generator = random.Random(lanes * keys)
    block = RowMaximum(lanes, 12, max_rows=16 if rows > 1 else 1)
    heads = [[[score] * keys] * rows for score in (4095, 7, 0)]
    for limit in (4096, 9, 99):
        heads.append([[generator.randrange(limit) for _ in range(keys)] for _ in range(rows)])
    assert row_maxima(block, heads, generator, gaps) == [[max(row) for row in head] for head in heads]


@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_a_tile_is_in_the_maximum_after_its_latency_and_not_before(lanes):
    block = RowMaximum(lanes, 4, max_rows=3)
    seen = []

    async def testbench(context):
        context.set(block.query, 2)
        tile = {"scores": packed([9] * lanes, 4), "keys": 1 << lanes - 1, "row": 2, "first": 1}
        context.set(block.tiles.p, tile)
        for cycle in range(block.latency + 4):
            context.set(block.tiles.valid, cycle == 0)
            seen.append(context.get(block.maximum))
            await context.tick()

    simulate(block, testbench)
    answered = block.latency + 1
    assert seen == [0] * answered + [9] * (len(seen) - answered)


@pytest.mark.parametrize("argument", ["lanes", "score_bits", "max_rows"])
@pytest.mark.parametrize("value", [0, -3, 2.0, "4"])
def test_row_maximum_refuses(argument, value):
    arguments = {"lanes": 2, "score_bits": 12, "max_rows": 4, argument: value}
    with pytest.raises(ValueError, match=rf"RowMaximum {argument} must be a positive integer, not {value!r}"):
        RowMaximum(**arguments)
