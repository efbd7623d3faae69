import random

import pytest
from amaranth.sim import Simulator

from haarlequin.hw.link.spi import DEPTH, SpiSlave
from haarlequin.hw.link.stuffing import FLAG, Unstuffing
from tests.hw.bench import LIMIT, limited

NS = 1e-9
MACHINE = 20 * NS
"""The period of the machine's clock."""


class Master:
    """An SPI master of mode 0 at the pins of a slave."""

    def __init__(self, context, slave, period):
        self.context, self.slave, self.half = context, slave, period / 2

    async def bits(self, *bits):
        """Send bits while the slave is chosen, the last one sent last; returns those that come."""
        came = []
        for bit in bits:
            self.context.set(self.slave.copi, bit)
            await self.context.delay(self.half)
            came.append(self.context.get(self.slave.cipo))
            self.context.set(self.slave.sck, 1)
            await self.context.delay(self.half)
            self.context.set(self.slave.sck, 0)
        return came

    async def run(self, data):
        """Choose the slave, exchange bytes, and let it go again."""
        self.context.set(self.slave.cs, 1)
        came = []
        for byte in data:
            bits = await self.bits(*(byte >> 7 - i & 1 for i in range(8)))
            came.append(sum(bit << 7 - i for i, bit in enumerate(bits)))
        await self.context.delay(self.half)
        self.context.set(self.slave.cs, 0)
        await self.context.delay(self.half)
        return bytes(came)


def simulate(slave, period, testbench, to_send=b"", pause=lambda: False):
    """Run ``testbench(master)`` with a machine that sends ``to_send``; returns what it received."""
    simulator = Simulator(slave)
    simulator.add_clock(MACHINE)
    received, left = bytearray(), list(to_send)

    async def machine(context):
        context.set(slave.received.ready, 0)
        async for _, _, valid, ready, payload, offered, taken in context.tick().sample(
            slave.received.valid,
            slave.received.ready,
            slave.received.payload,
            slave.to_send.valid,
            slave.to_send.ready,
        ):
            if valid and ready:
                received.append(payload)
            if offered and taken:
                left.pop(0)
            context.set(slave.received.ready, not pause())
            context.set(slave.to_send.valid, bool(left))
            context.set(slave.to_send.payload, left[0] if left else 0)

    async def master(context):
        await context.delay(3 * MACHINE)
        await testbench(Master(context, slave, period))
        await context.delay(20 * MACHINE)

    simulator.add_process(machine)
    simulator.add_testbench(master)
    with limited(LIMIT):
        simulator.run()
    return bytes(received)


PERIODS = [ns * NS for ns in (7.1, 19.9, 20, 20.1, 33.3, 161)]
"""Periods of SCK: with a third of the machine's, a byte still takes longer than a cycle."""


@pytest.mark.parametrize("period", PERIODS)
def test_bytes_go_both_ways_at_once(period):
    """In runs of any length, with both clocks as they come."""
    slave, dice = SpiSlave(), random.Random(3)
    there, back = (bytes(dice.choice((FLAG, dice.randrange(256))) for _ in range(120)) for _ in range(2))
    came, receiver = b"", Unstuffing()

    async def testbench(master):
        nonlocal came
        left = there
        while left:
            size = dice.randint(0, 40)
            came += receiver.feed(await master.run(left[:size]))
            left = left[size:]
        came += receiver.feed(await master.run(bytes(2 * len(back))))

    received = simulate(slave, period, testbench, back)
    assert received == there + bytes(2 * len(back))
    assert came == back


@pytest.mark.parametrize("period", PERIODS)
def test_a_machine_that_takes_nothing_loses_the_newest(period):
    slave, data = SpiSlave(), bytes(range(1, 101))

    async def testbench(master):
        nonlocal waits
        await master.run(data)
        waits = False
        await master.run(b"")
        await master.context.delay(40 * MACHINE)

    waits = True
    received = simulate(slave, period, testbench, pause=lambda: waits)
    assert received[:DEPTH] == data[:DEPTH]
    assert len(received) <= DEPTH + 1


def test_bits_that_make_no_byte_are_forgotten():
    slave, dice = SpiSlave(), random.Random(5)

    async def testbench(master):
        for byte in range(100):
            master.context.set(slave.cs, 1)
            await master.bits(*(dice.randrange(2) for _ in range(dice.randrange(8))))
            master.context.set(slave.cs, 0)
            await master.context.delay(MACHINE)
            await master.run(bytes([byte]))

    assert simulate(slave, 21 * NS, testbench) == bytes(range(100))


def test_other_slaves_may_be_on_the_bus():
    """Between two runs it neither hears what others are told, nor loses a bit of what it has to say."""
    slave, data, came, receiver = SpiSlave(), bytes(range(100)), b"", Unstuffing()

    async def testbench(master):
        nonlocal came
        for byte in range(200):
            came += receiver.feed(await master.run(bytes([byte])))
            await master.bits(*(byte >> i & 1 for i in range(7)))

    assert simulate(slave, 21 * NS, testbench, data) == bytes(range(200))
    assert came == data
