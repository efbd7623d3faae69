import random

import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from hw.serial import counter, stages, table_memories, table_ports

from .bench import simulate


@pytest.mark.parametrize(("limit", "step"), [(1, 1), (5, 1), (7, 3), (6, 3), (7, 7), (2, 7), (1, 7)])
def test_nested_counters(limit, step):
    """An inner count within every number of an outer one, with pauses and without a reset."""
    generator = random.Random(limit)
    m, limits, enable = Module(), [Signal(range(8), init=limit), Signal(range(4), init=3)], Signal()
    inner, ends_inner = counter(m, limits[0], enable, step)
    outer, ends_outer = counter(m, limits[1], ends_inner)
    seen = []

    async def testbench(context):
        expected = [(i, o) for o in range(3) for i in range(0, limit, step)] * 3
        while len(seen) < len(expected):
            context.set(enable, enabled := generator.random() < 0.6)
            if enabled:
                i, o = expected[len(seen)]
                seen.append((context.get(inner), context.get(outer)))
                assert context.get(ends_inner) == (i + step >= limit)
                assert context.get(ends_outer) == (i + step >= limit and o == 2)
            else:
                assert not (context.get(ends_inner) | context.get(ends_outer))
            await context.tick()
        assert seen == expected

    simulate(m, testbench)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_stages_move_together(count):
    generator = random.Random(count)
    m, value, move = Module(), Signal(signed(5)), Signal()
    late = stages(m, move)(value, count)
    sent = [0] * count

    async def testbench(context):
        for _ in range(100):
            context.set(move, moving := generator.random() < 0.5)
            context.set(value, number := generator.randrange(-16, 16))
            assert context.get(late) == sent[-count]
            if moving:
                sent.append(number)
            await context.tick()

    simulate(m, testbench)


class _Tables(wiring.Component):
    """Two tables that are read at one address."""

    def __init__(self):
        self.tables = {"pairs": (data.StructLayout({"a": signed(5), "b": 3}), 6), "single": (signed(9), 1)}
        super().__init__(table_ports(self.tables) | {"address": In(range(6))})

    def elaborate(self, platform):
        m = Module()
        self.reads = table_memories(m, self, self.tables)
        m.d.comb += [read.addr.eq(self.address) for read in self.reads]
        return m


def test_tables_are_filled_by_their_ports():
    block = _Tables()

    async def testbench(context):
        for address in range(6):
            context.set(block.pairs.addr, address)
            context.set(block.pairs.data, {"a": address - 8, "b": address})
            context.set(block.pairs.en, address != 3)
            context.set(block.single.data, -256)
            context.set(block.single.en, address == 0)
            await context.tick()
        context.set(block.pairs.en, 0)
        for address in range(6):
            context.set(block.address, address)
            await context.tick()
            pair = context.get(block.reads[0].data)
            assert (pair.a, pair.b) == ((0, 0) if address == 3 else (address - 8, address))
            if address == 0:
                assert context.get(block.reads[1].data) == -256

    simulate(block, testbench)
