from dataclasses import replace
from itertools import pairwise

import pytest

from haarlequin.hw.lanes.weight_store import DELAY, WeightStore
from haarlequin.hw.presets import CONFIGS
from tests.hw.bench import simulate

pytestmark = pytest.mark.slow


def tiles(lanes, interval, requests, depth=20):
    """For each request the words that came, and the cycles from the request to each of them."""
    config = replace(CONFIGS["2x64"], lanes=lanes, weights=depth, weight_interval=interval)
    block, found = WeightStore(config), []

    async def testbench(context):
        context.set(block.weights_table.en, 1)
        for address in range(depth):
            context.set(block.weights_table.addr, address)
            context.set(block.weights_table.data, 1000 + address)
            await context.tick()
        context.set(block.weights_table.en, 0)
        for base in requests:
            context.set(block.request.valid, 1)
            context.set(block.request.p, base)
            while not context.get(block.request.ready):
                await context.tick()
            await context.tick()
            context.set(block.request.valid, 0)
            words, cycles, cycle = [], [], 0
            while len(words) < lanes:
                cycle += 1
                if context.get(block.words.valid):
                    words.append(context.get(block.words.p))
                    cycles.append(cycle)
                await context.tick()
            for _ in range(2):
                assert not context.get(block.words.valid), "more words than lanes"
                await context.tick()
            found.append((words, cycles))

    simulate(block, testbench)
    return found


@pytest.mark.parametrize(("lanes", "interval"), [(1, 1), (2, 4), (8, 1), (8, 5), (16, 3)])
def test_a_tile_comes_word_by_word(lanes, interval):
    bases = [0, 3, 20 - lanes, 0]
    found = tiles(lanes, interval, bases)
    assert [words for words, _ in found] == [[1000 + base + i for i in range(lanes)] for base in bases]
    assert {cycles[0] for _, cycles in found} == {DELAY}
    gaps = [b - a for _, cycles in found for a, b in pairwise(cycles)]
    assert set(gaps) <= {interval, 3 * interval}


def test_now_and_then_it_takes_three_times_as_long():
    """An eighth of the words."""
    gaps = [b - a for _, cycles in tiles(16, 2, [0] * 30) for a, b in pairwise(cycles)]
    assert 0.06 < gaps.count(6) / len(gaps) < 0.2
