import random

from haarlequin.hw.link.ethernet.rgmii import Rgmii
from tests.hw.bench import simulate


def test_both_halves_of_a_byte_and_its_marks_both_ways():
    """The lower half at the rising edge; control is valid, then valid xor error."""
    dut, dice = Rgmii(), random.Random(1)
    cases = [(dice.randrange(256), dice.randrange(2), dice.randrange(2)) for _ in range(50)]

    async def testbench(context):
        for data, valid, error in cases:
            context.set(dut.to_send.data, data)
            context.set(dut.to_send.valid, valid)
            context.set(dut.to_send.error, error)
            rising, falling = data & 0xF, data >> 4
            context.set(dut.wires_in.data, falling << 4 | rising)
            context.set(dut.wires_in.control, (valid ^ error) << 1 | valid)
            await context.tick()
            sent = context.get(dut.wires_out.data), context.get(dut.wires_out.control)
            assert sent == (data, (valid ^ error) << 1 | valid)
            came = (dut.received.data, dut.received.valid, dut.received.error)
            assert tuple(map(context.get, came)) == (data, valid, error)

    simulate(dut, testbench)
