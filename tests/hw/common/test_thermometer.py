import pytest
from amaranth.hdl import Module, Signal

from haarlequin.hw.common.thermometer import thermometer
from tests.hw.bench import simulate


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 18, 24, 64, 100, 128])
def test_as_many_ones_as_a_number_says(size):
    m, count, code = Module(), Signal(range(size + 1)), Signal(size)
    m.d.comb += code.eq(thermometer(count, size))
    m.d.sync += Signal(name="clock").eq(0)

    async def testbench(context):
        for ones in range(size + 1):
            context.set(count, ones)
            await context.delay(0)
            assert context.get(code) == (1 << ones) - 1

    simulate(m, testbench)
