import random
from collections import deque

import pytest
from amaranth.sim import Simulator

from haarlequin.hw.link.fifo import DEPTH, FIFO_HZ, PULSE, QUIET, FifoMaster
from tests.hw.bench import LIMIT, limited

PERIOD = 1 / FIFO_HZ

RATIOS = [0.21, 0.6, 1, 1.003, 1.2, 5.3]
"""Periods of the machine's clock, for one of the chip's."""


class Chip:
    """An FT232H in its synchronous FIFO mode, at the pins of a master.

    It takes and gives bytes at the rising edges at which a strobe and its flag are low, and asserts that the
    bus has never two ends that drive it, nor one that has begun in the cycle in which the other has ended.
    ``steady`` is the chance that a flag stays low for another cycle, and that it comes back.
    """

    def __init__(self, context, master, dice, steady=1.0):
        self.context, self.master, self.dice, self.steady = context, master, dice, steady
        self.to_board, self.from_board = deque(), bytearray()
        self.room, self.last = 1 << 30, 0
        self.bursts, self.hurried = [0], []
        self._gates = [True, True]
        self._before = 1, 0, 1, 1
        self.cycle = 0

    def _show(self):
        """Set the flags, and the wires; returns whether there is a byte, and room for one."""
        has_byte, has_room = self._gates[0] and bool(self.to_board), self._gates[1] and self.room > 0
        shown = has_byte and not self.context.get(self.master.oe_n)
        self.context.set(self.master.rxf_n, not has_byte)
        self.context.set(self.master.txe_n, not has_room)
        self.context.set(self.master.data_in, self.to_board[0] if shown else self.dice.randrange(256))
        return has_byte, has_room

    async def run(self, cycles):
        """Let so many cycles pass."""
        context, master = self.context, self.master
        has_byte, has_room = self._show()
        for _ in range(cycles):
            await context.delay(PERIOD / 2)
            oe_n, driving, rd_n, wr_n = (
                context.get(pin) for pin in (master.oe_n, master.driving, master.rd_n, master.wr_n)
            )
            before_oe_n, before_driving, *_ = self._before
            assert oe_n or not (driving or before_driving), "the chip drives before the wires are free"
            assert not driving or (oe_n and before_oe_n), "the FPGA drives before the wires are free"
            assert rd_n or not (oe_n or before_oe_n), "OE# is not low a cycle before RD#"
            assert wr_n or (driving and before_driving), "the FPGA does not drive what it writes"
            self._before = oe_n, driving, rd_n, wr_n
            if not rd_n and has_byte:
                self.to_board.popleft()
                self.bursts[-1] += 1
            elif self.bursts[-1]:
                self.bursts.append(0)
            if not wr_n and has_room:
                self.from_board.append(context.get(master.data_out))
                self.room, self.last = self.room - 1, self.cycle
            if not context.get(master.siwu_n):
                self.hurried.append(self.cycle)
            self.cycle += 1
            context.set(master.clkout, 1)
            await context.delay(PERIOD / 4)  # 0 to 9 ns
            self._gates = [gate == (self.dice.random() < self.steady) for gate in self._gates]
            has_byte, has_room = self._show()
            await context.delay(PERIOD / 4)
            context.set(master.clkout, 0)


def simulate(testbench, ratio=1.2, to_send=b"", takes=lambda: True, gives=lambda: True, steady=1.0, seed=1):
    """Run ``testbench(chip)`` with a machine that sends ``to_send``; returns what it received."""
    master = FifoMaster()
    simulator, machine_period = Simulator(master), PERIOD * ratio
    simulator.add_clock(machine_period)
    received, left = bytearray(), deque(to_send)

    async def machine(context):
        async for _, _, valid, ready, payload, offered, taken in context.tick().sample(
            master.received.valid,
            master.received.ready,
            master.received.payload,
            master.to_send.valid,
            master.to_send.ready,
        ):
            if valid and ready:
                received.append(payload)
            if offered and taken:
                left.popleft()
            context.set(master.received.ready, takes())
            if not offered or taken:
                context.set(master.to_send.valid, bool(left) and gives())
            context.set(master.to_send.payload, left[0] if left else 0)

    async def chip(context):
        for pin in (master.rxf_n, master.txe_n):
            context.set(pin, 1)
        await context.delay(3 * machine_period)
        await testbench(Chip(context, master, random.Random(seed), steady))
        await context.delay(20 * machine_period)

    simulator.add_process(machine)
    simulator.add_testbench(chip)
    with limited(LIMIT):
        simulator.run()
    return bytes(received)


def noise(seed, size):
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("steady", [1, 0.9, 0.5])
@pytest.mark.parametrize("ratio", RATIOS)
def test_every_byte_goes_once_and_in_order_both_ways_at_once(ratio, steady):
    """With flags that come and go as they like, and a machine that pauses as it likes."""
    there, back, dice = noise(3, 150), noise(4, 150), random.Random(5)

    async def testbench(chip):
        nonlocal came
        chip.to_board.extend(there)
        while chip.to_board or len(chip.from_board) < len(back):
            await chip.run(20)
            assert chip.cycle < 20_000
        await chip.run(20 + round(50 * ratio))
        came = bytes(chip.from_board)

    came = b""
    received = simulate(
        testbench,
        ratio,
        back,
        takes=lambda: dice.random() < 0.7,
        gives=lambda: dice.random() < 0.7,
        steady=steady,
    )
    assert received == there
    assert came == back


@pytest.mark.parametrize("ratio", [0.5, 0.9])
def test_a_burst_has_a_byte_in_each_cycle(ratio):
    async def testbench(chip):
        chip.to_board.extend(noise(1, 300))
        await chip.run(340)
        assert chip.bursts == [300, 0]

    assert simulate(testbench, ratio) == noise(1, 300)


def test_a_burst_of_writing_has_one_too():
    async def testbench(chip):
        await chip.run(330)
        assert bytes(chip.from_board) == noise(1, 300)

    simulate(testbench, 0.5, noise(1, 300))


def test_a_machine_that_takes_nothing_stops_the_chip():
    """And loses nothing, wherever it stops."""
    data = noise(6, 600)

    async def testbench(chip):
        nonlocal waits
        chip.to_board.extend(data)
        for stopped in (True, False, True, False):
            waits = stopped
            await chip.run(100)
            before = len(chip.to_board)
            if before > len(data) - 30:
                assert len(data) - before == DEPTH
            await chip.run(50)
            assert (len(chip.to_board) == before) == stopped
        await chip.run(600)

    waits = True
    assert simulate(testbench, takes=lambda: not waits) == data


def test_a_chip_that_is_full_is_read_all_the_same():
    """A host that sends, and listens to nothing, is not stuck."""
    data, back = noise(7, 200), noise(8, 100)

    async def testbench(chip):
        chip.room = 37
        chip.to_board.extend(data)
        await chip.run(600)
        assert not chip.to_board
        assert bytes(chip.from_board) == back[:37]
        for room in (1, 1, 2, 1 << 30):
            chip.room = room
            await chip.run(200)
        assert bytes(chip.from_board) == back

    assert simulate(testbench, to_send=back) == data


def test_what_is_to_be_sent_does_not_wait_for_the_end_of_a_burst():
    async def testbench(chip):
        chip.to_board.extend(noise(1, 2000))
        await chip.run(100)
        assert bytes(chip.from_board) == b"answer"
        assert chip.to_board

    simulate(testbench, 0.5, b"answer")


def test_a_reset_of_the_machine_in_the_middle_of_a_burst_costs_no_byte_of_the_line():
    """The board's reset leaves the line out; so a clock of the chip that stops and begins again does, too."""
    data = noise(9, 300)

    async def testbench(chip):
        chip.to_board.extend(data)
        for _ in range(10):
            await chip.run(7)
            await chip.context.delay(33.3 * PERIOD)  # a host that closes and opens
        await chip.run(400)

    assert simulate(testbench) == data


def test_a_packet_is_sent_once_nothing_has_come_for_a_while():
    """Neither before, nor a second time."""

    async def testbench(chip):
        await chip.run(2 * QUIET)
        assert bytes(chip.from_board) == b"abc"
        first = chip.last + QUIET + 2
        assert chip.hurried == list(range(first, first + PULSE))

    simulate(testbench, 1, b"abc")


def test_the_pins_of_a_bus_that_nobody_uses_are_quiet():
    """The FPGA drives nothing before the clock has come, nor while there is nothing to write."""

    async def testbench(chip):
        context, master = chip.context, chip.master
        for cycles in (0, 5, 500):
            await chip.run(cycles)
            pins = master.oe_n, master.rd_n, master.wr_n, master.siwu_n
            assert [context.get(pin) for pin in pins] == [1, 1, 1, 1]
            assert not context.get(master.driving)

    simulate(testbench)
