from amaranth.hdl import Module, Signal

from haarlequin.hw.common.lookup import lookup
from tests.hw.bench import simulate

VALUES = [5, 0, 9, 14, 3]


def test_each_value_at_its_index_and_0_beyond_them():
    m, index, found = Module(), Signal(3), Signal(5)
    m.d.comb += found.eq(lookup(m, index, VALUES))
    m.d.sync += Signal(name="clock").eq(0)

    async def testbench(context):
        for at, expected in enumerate([*VALUES, 0, 0, 0]):
            context.set(index, at)
            await context.delay(0)
            assert context.get(found) == expected

    simulate(m, testbench)
