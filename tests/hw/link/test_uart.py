import random
from fractions import Fraction

import pytest
from amaranth.hdl import Elaboratable, Module

from haarlequin.hw.link.uart import Uart
from tests.hw.bench import simulate

pytestmark = pytest.mark.slow

MISMATCH = Fraction(2, 100)


def levels(data, divisor, gap=0, rate=Fraction(1)):
    """What a sender ``rate`` times as fast puts on the pin in each cycle, ``gap`` bits between two bytes."""
    bits = [1]
    for byte in data:
        bits += [0, *(byte >> i & 1 for i in range(8)), 1] + [1] * gap
    bits += [1, 1]
    count = int(len(bits) * divisor / rate)
    return [bits[min(int(Fraction(cycle) * rate / divisor), len(bits) - 1)] for cycle in range(count)]


def receive(divisor, pin, ready=lambda cycle: True):
    """The bytes that come of those levels, of which None is one that nothing drives, and the cycles in which
    one was lost.
    """
    dut, came, lost = Uart(divisor), [], []

    async def testbench(context):
        for cycle, level in enumerate([*pin, *[1] * (2 * divisor)]):
            if level is not None:
                context.set(dut.rx, level)
            context.set(dut.received.ready, ready(cycle))
            valid, payload = context.get(dut.received.valid), context.get(dut.received.payload)
            if context.get(dut.overrun):
                lost.append(cycle)
            await context.tick()
            if valid and ready(cycle):
                came.append(payload)

    simulate(dut, testbench, cycles=4 * (len(pin) + 3 * divisor))
    return came, lost


def send(divisor, data, gap=0):
    """The level of the pin in each cycle, from the one in which the first byte is offered."""
    dut, pin = Uart(divisor), []

    async def testbench(context):
        left, wait = list(data), 0
        for _ in range(10 * divisor * len(data) + gap * len(data) + 3 * divisor):
            offered = bool(left) and wait == 0
            context.set(dut.to_send.valid, offered)
            context.set(dut.to_send.payload, left[0] if offered else 0)
            pin.append(context.get(dut.tx))
            if offered and context.get(dut.to_send.ready):
                left.pop(0)
                wait = gap
            elif wait:
                wait -= 1
            await context.tick()
        assert not left

    simulate(dut, testbench)
    return pin


def some(count, seed=1):
    return [0, 255, 0x55, 0xAA, *random.Random(seed).choices(range(256), k=count)]


@pytest.mark.parametrize("divisor", [4, 5, 7, 16, 434])
@pytest.mark.parametrize("gap", [0, 1, 3])
def test_receives_what_is_sent(divisor, gap):
    data = some(4 if divisor > 100 else 30)
    assert receive(divisor, levels(data, divisor, gap)) == (data, [])


@pytest.mark.parametrize("divisor", [4, 5, 16, 53])
@pytest.mark.parametrize("rate", [1 - MISMATCH, 1 + MISMATCH])
def test_clocks_that_differ_do_not_drift_apart(divisor, rate):
    """Byte upon byte without a gap."""
    data = some(1000 // divisor)
    assert receive(divisor, levels(data, divisor, rate=rate)) == (data, [])


def test_clocks_that_differ_by_too_much_are_noticed():
    data = some(100)
    assert receive(16, levels(data, 16, rate=Fraction(110, 100)))[0] != data


@pytest.mark.parametrize("divisor", [4, 9])
@pytest.mark.parametrize("gap", [0, 1, 50])
def test_sends_bits_of_equal_length(divisor, gap):
    data = some(8)
    pin = send(divisor, data, gap)
    first = pin.index(0)
    assert first == 1  # a cycle behind the offer
    wanted = levels(data, divisor)[divisor:]
    if gap == 0:
        assert pin[first:] == wanted[: len(pin) - first] + [1] * (len(pin) - first - len(wanted))
    assert receive(divisor, pin) == (data, [])


def test_a_byte_that_is_not_taken_stays_and_the_next_is_lost():
    divisor = 4
    pin = levels([1, 2, 3], divisor)
    came, lost = receive(divisor, pin, ready=lambda cycle: cycle > 25 * divisor)
    assert (came, len(lost)) == ([1, 3], 1)


def test_a_low_stop_bit_drops_its_byte_alone():
    divisor = 8
    broken = levels([0x31], divisor)
    stop = divisor * 10
    broken[stop : stop + divisor] = [0] * divisor
    pin = levels([1], divisor) + broken + levels([2, 3], divisor)
    assert receive(divisor, pin) == ([1, 2, 3], [])


def test_a_line_that_stays_low_is_no_byte():
    divisor = 4
    assert receive(divisor, [1] * 9 + [0] * 500 + levels([7], divisor)) == ([7], [])


def test_a_line_that_nothing_drives_yet_rests_high():
    divisor = 4
    assert receive(divisor, [None] * 100 + levels([7], divisor)[divisor:]) == ([7], [])


def test_a_start_bit_that_is_over_by_its_middle_is_none():
    divisor = 16
    pin = [1] * 20 + [0] * (divisor // 2 - 1) + [1] * 5 + levels([9], divisor)
    assert receive(divisor, pin) == ([9], [])


class Pair(Elaboratable):
    """Two that talk to one another."""

    def __init__(self, divisor):
        self.uarts = [Uart(divisor) for _ in range(2)]

    def elaborate(self, platform):
        m = Module()
        m.submodules += self.uarts
        for one, other in (self.uarts, self.uarts[::-1]):
            m.d.comb += one.rx.eq(other.tx)
        return m


def test_both_ways_at_once():
    pair = Pair(4)
    data = [some(40, seed) for seed in (1, 2)]
    came = [[], []]

    async def testbench(context):
        left = [list(one) for one in data]
        while [len(one) for one in came] != [len(one) for one in data]:
            taken = []
            for i, uart in enumerate(pair.uarts):
                context.set(uart.received.ready, 1)
                context.set(uart.to_send.valid, bool(left[i]))
                context.set(uart.to_send.payload, left[i][0] if left[i] else 0)
                taken.append(bool(left[i]) and context.get(uart.to_send.ready))
                if context.get(uart.received.valid):
                    came[1 - i].append(context.get(uart.received.payload))
            await context.tick()
            for i, gone in enumerate(taken):
                if gone:
                    left[i].pop(0)

    simulate(pair, testbench)
    assert came == data


@pytest.mark.parametrize("divisor", [3, 0, 4.0, True, "8"])
def test_a_divisor_that_is_none(divisor):
    with pytest.raises(ValueError, match=r"^Uart divisor must be an integer of at least 4, not "):
        Uart(divisor)
