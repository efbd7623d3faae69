import random
from dataclasses import dataclass, replace

import pytest
import torch

from haarlequin.hw.codes import SignMemory
from haarlequin.hw.lanes.haar import HaarSplit
from haarlequin.hw.lanes.haar_unit import HaarUnit
from haarlequin.hw.presets import CONFIGS
from haarlequin.hw.program import pass_layout
from haarlequin.models import arithmetic
from tests.hw.bench import simulate

pytestmark = pytest.mark.slow

SILENCE = 12
"""Cycles after the last result in which nothing more may come."""

FIELDS = ("haar_x", "haar_low", "haar_apart", "haar_signs", "haar_signs_apart", "haar_chunk")
RESULTS = ("phase", "number", "wide_address", "wide")


def machine(lanes, chunks=1, max_columns=8):
    return replace(
        CONFIGS["2x64"],
        lanes=lanes,
        width=2 * lanes * chunks,
        max_tokens=40,
        max_columns=max_columns,
        bank_a=128,
        bank_b=256,
        signs=64,
    )


@dataclass
class Tile:
    grid: tuple[int, int]
    x: torch.Tensor
    """(N, lanes)"""
    moves: torch.Tensor
    """(lanes, 4)"""
    parts: dict[str, int]
    """The fields of its pass."""

    @property
    def cycles(self) -> int:
        """Until the next tile may begin."""
        return 2 * (len(self.x) + HaarSplit.lead(self.grid[1]))

    @property
    def places(self) -> list[int]:
        """Of its tokens, from the first on, on the grid of which it is a window."""
        return [i + i // self.grid[1] * self.parts["jump"] for i in range(len(self.x))]


def drawn(config, grid, generator):
    """A tile anywhere in the memories, whose ends its words may pass; half of them saturate now and then."""
    layout, wide = pass_layout(config), config.widths.wide
    limit, offset = 1 << wide - 1, 1 << config.widths.offset - 1
    parts = {name: generator.getrandbits(layout[name].width) for name in FIELDS}
    parts |= {"keys": grid[0] * grid[1], "columns": grid[1], "jump": generator.choice([0, 3])}
    parts["haar_lanes"] = generator.randint(1, config.lanes)
    values = [-limit, limit - 1] if generator.getrandbits(1) else range(-limit, limit)
    x = [[generator.choice(values) for _ in range(config.lanes)] for _ in range(parts["keys"])]
    moves = [[generator.randrange(-offset, offset) for _ in range(4)] for _ in range(config.lanes)]
    return Tile(grid, torch.tensor(x), torch.tensor(moves), parts)


def golden(config, tiles, begins):
    """The look-ups, (cycle, address); the values; the signs; and how many values saturate."""
    reads, wide, signs, clipped = [], [], [], 0
    for tile, begin in zip(tiles, begins, strict=True):
        p, lead = tile.parts, HaarSplit.lead(tile.grid[1])
        bands = arithmetic.haar_split(tile.x, tile.grid, config.widths.wide)
        with arithmetic.count_saturations() as counter:
            arithmetic.haar_split(tile.x[:, : p["haar_lanes"]], tile.grid, config.widths.wide)
        clipped += counter.clipped
        for number, place in enumerate(tile.places):
            reads.append((begin + 2 * number + 1, (p["haar_x"] + place) % config.bank_b))
            for phase, band in enumerate(bands):
                cycle, row = begin + 2 * (number + lead) + phase + HaarUnit.WRITTEN, band[number]
                address = p["haar_low"] + number + phase * p["haar_apart"]
                wide.append((cycle, (phase, number, address % config.bank_a, tuple(row.tolist()))))
                bits = [
                    sum(int(v) << lane for lane, v in enumerate(row + tile.moves[:, 2 * phase + memory] >= 0))
                    for memory in SignMemory
                ]
                address = p["haar_signs"] + number + phase * p["haar_signs_apart"]
                signs.append((cycle - 1, (address % config.signs, p["haar_chunk"], *bits)))
    return reads, wide, signs, clipped


def rtl(config, tiles, begins, generator):
    """The same of the block, in whose bank is noise wherever no token is, and whose moves come late."""
    block = HaarUnit(config)
    reads, wide, signs, clipped = [], [], [], 0
    limit, offset = 1 << config.widths.wide - 1, 1 << config.widths.offset - 1
    loads = {}  # as late as they may, the first tile's as well
    for tile, begin in zip(tiles, begins, strict=True):
        loads |= {
            begin + HaarUnit.TAKEN - config.lanes + lane: tile.moves[lane] for lane in range(config.lanes)
        }
    fillers = {
        begin + 2 * m + 1
        for tile, begin in zip(tiles, begins, strict=True)
        for m in range(len(tile.x), tile.cycles // 2)
    }

    def noise():
        return [generator.randrange(-limit, limit) for _ in range(config.lanes)]

    async def testbench(context):
        nonlocal clipped
        get, words, asked = context.get, {}, [None, None]
        for cycle in range(begins[-1] + tiles[-1].cycles + SILENCE):
            begin = cycle in begins
            context.set(block.begin, begin)
            context.set(block.parts.as_value(), generator.getrandbits(pass_layout(config).size))
            if begin:
                tile = tiles[begins.index(cycle)]
                base = tile.parts["haar_x"]
                words = {
                    (base + place) % config.bank_b: row
                    for place, row in zip(tile.places, tile.x.tolist(), strict=True)
                }
                context.set(block.parts, tile.parts)
            context.set(block.load, cycle in loads)
            moves = loads[cycle].tolist() if cycle in loads else [generator.randrange(-offset, offset)] * 4
            context.set(block.moves, [move % (2 * offset) for move in moves])
            context.set(block.x, asked.pop(0) or noise())
            asked.append(words.get(get(block.address)) if get(block.read) else None)
            if get(block.read) and cycle not in fillers:
                reads.append((cycle, get(block.address)))
            if get(block.valid):
                values = get(block.wide)
                row = tuple(values[lane] for lane in range(config.lanes))
                wide.append((cycle, (get(block.phase), get(block.number), get(block.wide_address), row)))
            if get(block.signs_valid):
                bits = get(block.signs)
                place = get(block.signs_address), get(block.chunk) if config.chunks > 1 else 0
                signs.append((cycle, (*place, *(bits[memory] for memory in SignMemory))))
            clipped += get(block.clipped)
            await context.tick()

    simulate(block, testbench)
    return reads, wide, signs, clipped


@pytest.mark.parametrize("pause", [0, 5])
@pytest.mark.parametrize("lanes", [1, 3, 9])
def test_tiles_one_after_the_other(lanes, pause):
    """Of several grids, and of windows; each begins while the last results of the one before still come."""
    generator = random.Random(lanes)
    config = machine(lanes, chunks=2)
    grids = [(4, 4), (4, 4), (1, 1), (1, 1), (1, 5), (5, 1), (3, 8), (2, 3)]
    tiles = [drawn(config, grid, generator) for grid in grids]
    begins = [lanes]
    for tile in tiles[:-1]:
        begins.append(begins[-1] + max(tile.cycles, lanes) + pause)
    assert rtl(config, tiles, begins, generator) == golden(config, tiles, begins)


@pytest.mark.parametrize("columns", [1, 3, 7])
def test_the_widest_grid(columns):
    """Of as many columns as a machine has, where the lead is a power of two: a bit more than the columns."""
    generator, config = random.Random(columns), machine(lanes=2, max_columns=columns)
    tile, begins = drawn(config, (2, columns), generator), [config.lanes]
    tile.parts["jump"] = 0  # it is no window: no grid is wider
    assert rtl(config, [tile], begins, generator) == golden(config, [tile], begins)
