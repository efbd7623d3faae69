import random
from itertools import pairwise

import pytest

from haarlequin.hw.lanes.tile_buffer import TILES, TileBuffer
from tests.hw.bench import simulate

pytestmark = pytest.mark.slow

BASES = 64
STORED = 8 * BASES


class Bench:
    """A sequencer, a loader and a store around the buffer, each as slow as its share says, of a hundred.

    ``lag`` is the most that a load may come after its pass has begun, as long as the next one has not.
    """

    def __init__(self, lanes, seed, store=100, sequencer=100, stale=0, lag=3):
        self.lanes, self.dice = lanes, random.Random(seed)
        self.store, self.sequencer, self.stale, self.lag = store, sequencer, stale, lag
        self.block = TileBuffer(lanes, 9, range(STORED))
        self.words = [self.dice.getrandbits(9) for _ in range(STORED)]
        self.taken, self.read, self.requests = [], [], 0

    def often(self, share):
        return self.dice.randrange(100) < share

    def run(self, tiles):
        simulate(self.block, lambda context: self._testbench(context, tiles))
        assert self.read == self.taken
        return self

    async def _testbench(self, context, tiles):
        block, dice = self.block, self.dice
        wanted, coming, loads, base = False, [], [], 0
        load = None  # the tile that is being loaded, and its lane
        late = []  # what was read a cycle ago: the tile and the lane
        while len(self.read) < tiles:
            # The host changes what is stored only while nothing is on its way to the lanes.
            stale = self.often(self.stale) and not loads and load is None and not late
            if stale:
                self.words = [dice.getrandbits(9) for _ in range(STORED)]
            if not wanted and self.often(self.sequencer):
                wanted, base = True, dice.randrange(STORED - self.lanes + 1)
            gives = bool(coming) and self.often(self.store)
            if load is None and loads and (self.often(50) or len(loads) == TILES):
                load = [loads.pop(0), 0]
            for name, value in {
                "wanted": wanted and not stale,
                "base": base,
                "stale": stale,
                "request.ready": not coming,
                "words.valid": gives,
                "lane": load[1] if load else dice.randrange(self.lanes),
                "loaded": bool(load) and load[1] == self.lanes - 1,
            }.items():
                port = block
                for part in name.split("."):
                    port = getattr(port, part)
                context.set(port, value)
            context.set(block.words.p, coming[0] if gives else dice.getrandbits(9))
            for tile, lane in late:
                assert context.get(block.word) == tile[lane]
            ready = context.get(block.ready)
            takes = wanted and not stale and ready and len(loads) < TILES and self.often(self.sequencer)
            context.set(block.taken, takes)
            asks = context.get(block.request.valid) and not coming
            if asks:
                self.requests += 1
                address = context.get(block.request.p)
                assert address == base
                assert len(loads) + (load is not None) < TILES
            late = [tuple(load)] if load else []
            if load:
                load[1] += 1
                if load[1] == self.lanes:
                    self.read.append(load[0])
                    load = None
            if takes:
                tile = self.words[base : base + self.lanes]
                self.taken.append(tile)
                loads.append(tile)
                wanted = False
            await context.tick()
            if gives:
                coming.pop(0)
            if asks:
                coming = self.words[address : address + self.lanes]
        self.taken = self.taken[: len(self.read)]
        for name in ("wanted", "taken", "loaded"):
            context.set(getattr(block, name), 0)


@pytest.mark.parametrize("lanes", [1, 2, 3, 8])
@pytest.mark.parametrize(("store", "sequencer"), [(100, 100), (30, 100), (100, 20), (40, 40)])
def test_every_tile_comes_to_the_loader_in_order(lanes, store, sequencer):
    bench = Bench(lanes, seed=lanes, store=store, sequencer=sequencer).run(60)
    assert bench.requests >= 60


@pytest.mark.parametrize("lanes", [1, 3, 8])
def test_what_may_have_changed_is_asked_for_again(lanes):
    """In every state: before the first word, between words, with the tile here."""
    bench = Bench(lanes, seed=lanes, store=40, sequencer=40, stale=8).run(60)
    assert bench.requests > 65


def test_words_of_a_store_that_is_as_fast_as_the_lanes_cost_no_cycle():
    """While one tile is loaded, the next one comes."""
    lanes, cycles = 8, []

    async def testbench(context):
        block = bench.block
        context.set(block.wanted, 1)
        context.set(block.request.ready, 1)
        context.set(block.words.valid, 0)
        taken = None
        for cycle in range(100):
            asked = context.get(block.request.valid)
            context.set(block.words.valid, bool(cycles) and cycle - cycles[-1] <= lanes)
            context.set(block.taken, context.get(block.ready))
            lane = cycle - taken - 1 if taken is not None else lanes
            context.set(block.lane, lane if lane < lanes else 0)
            context.set(block.loaded, lane == lanes - 1)
            if context.get(block.ready):
                taken = cycle
            if asked:
                cycles.append(cycle)
            await context.tick()

    bench = Bench(lanes, seed=0)
    simulate(bench.block, testbench)
    assert {b - a for a, b in pairwise(cycles[1:])} == {lanes + 2}


@pytest.mark.parametrize(("lanes", "width"), [(0, 4), (2, 0), ("2", 4)])
def test_sizes_that_no_tile_has(lanes, width):
    with pytest.raises(ValueError, match="needs lanes and bits"):
        TileBuffer(lanes, width, range(4))
