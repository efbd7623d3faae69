import random

import pytest

from haarlequin.hw.link.ethernet.datagrams import MOST, SLOTS, TO_BOARD
from haarlequin.hw.link.ethernet.inbox import Inbox
from tests.hw.bench import simulate


class Host:
    """Sends datagrams to an inbox, and takes what comes out of it."""

    def __init__(self, context, inbox, takes=lambda: True):
        self.context, self.inbox, self.takes = context, inbox, takes
        self.came, self.told, self.heard = bytearray(), 0, 0

    async def tick(self, cycles=1):
        context, inbox = self.context, self.inbox
        for _ in range(cycles):
            context.set(inbox.received.ready, self.takes())
            self.heard += context.get(inbox.heard)
            if context.get(inbox.received.valid) and context.get(inbox.received.ready):
                self.came.append(context.get(inbox.received.payload))
            await context.tick()
            self.told += context.get(inbox.tell)

    async def send(self, session, number, data, whole=True):
        """A datagram, or a packet that is none in the end."""
        await self.raw(TO_BOARD.pack(session, number) + data, whole)

    async def raw(self, packet, whole=True):
        context, inbox = self.context, self.inbox
        context.set(inbox.begin, 0)
        for byte in packet:
            context.set(inbox.body, byte)
            context.set(inbox.strobe, 1)
            await self.tick()
        context.set(inbox.strobe, 0)
        await self.tick(5)
        context.set(inbox.begin, 1)
        context.set(inbox.datagram, whole)
        await self.tick()
        context.set(inbox.datagram, 0)
        await self.tick()

    @property
    def following(self):
        return self.context.get(self.inbox.following)


def run(testbench, takes=lambda: True):
    """Run ``testbench(host)``; returns the bytes that came out."""
    inbox, came = Inbox(), []

    async def bench(context):
        context.set(inbox.begin, 1)
        host = Host(context, inbox, takes)
        await testbench(host)
        await host.tick(20)
        came.append(bytes(host.came))

    simulate(inbox, bench)
    return came[0]


def part(number, size=20):
    return random.Random(number).randbytes(size)


def test_datagrams_in_order_and_of_all_lengths():
    sizes = [0, 1, 2, 3, 100, MOST, MOST, 0, 5]

    async def testbench(host):
        for number, size in enumerate(sizes):
            await host.send(7, number, part(number, size))
        await host.tick(2 * MOST)
        assert (host.following, host.told, host.heard) == (len(sizes),) * 3

    assert run(testbench) == b"".join(part(number, size) for number, size in enumerate(sizes))


@pytest.mark.parametrize("seed", range(3))
def test_any_order_with_losses_and_repetitions(seed):
    """As a host sends them: those that are not passed on, until they are."""
    dice, count = random.Random(seed), 60

    async def testbench(host):
        await host.send(7, 0, part(0))
        while host.following < count:
            window = range(host.following, min(count, host.following + SLOTS))
            chosen = dice.choice(window) if dice.random() < 0.8 else dice.randrange(count)
            if chosen not in window:
                chosen = dice.choice([max(0, chosen - SLOTS), chosen])
            await host.send(7, chosen, part(chosen), whole=dice.random() < 0.8)

    came = run(testbench, takes=lambda: dice.random() < 0.7)
    assert came == b"".join(part(number) for number in range(count))


def test_a_slot_that_waits_is_not_written_again():
    """Neither by the same number with other bytes, nor by one that comes too early."""

    async def testbench(host):
        await host.send(7, 0, b"a")
        await host.send(7, 2, b"c")
        await host.send(7, 2, b"X")
        await host.send(7, 2 + SLOTS, b"Y")
        await host.send(7, 2, b"Z", whole=False)
        assert host.following == 1
        told = host.told
        await host.send(7, 1, b"b")
        await host.tick(10)
        assert host.following == 3
        assert host.told == told + 2

    assert run(testbench) == b"abc"


def test_numbers_go_round():
    """Number 0 of the same session begins nothing."""

    async def testbench(host):
        await host.send(7, 0, b"a")
        await host.tick(5)
        host.context.set(host.inbox.following, (1 << 16) - 2)  # not after 65,534 datagrams
        for number in (0xFFFF, 0xFFFE, 0x0001, 0x0000, 0xFFFF, 0x0000):
            await host.send(7, number, number.to_bytes(2, "big"))
        await host.tick(20)
        assert host.following == 2

    assert run(testbench) == b"a" + bytes.fromhex("fffe ffff 0000 0001")


def test_a_session_begins_with_number_0_alone():
    async def testbench(host):
        await host.send(7, 1, b"X")
        assert not host.context.get(host.inbox.active)
        await host.send(7, 0, b"a")
        assert host.context.get(host.inbox.active)
        assert host.context.get(host.inbox.session) == 7
        await host.send(8, 1, b"Y")
        await host.send(8, 2, b"Y")
        await host.send(7, 1, b"b")
        await host.tick(10)
        await host.send(8, 0, b"c")
        await host.tick(10)
        assert (host.context.get(host.inbox.session), host.following) == (8, 1)
        await host.send(7, 2, b"Z")
        assert host.heard == 3

    assert run(testbench) == b"abc"


def test_what_waits_of_the_session_before_is_forgotten():
    """The byte that is offered stays; slot 0 of the new one may have to be sent again."""

    async def testbench(host):
        for number in range(SLOTS):
            await host.send(7, number, bytes([number]) * 9)
        assert host.following == 0
        await host.send(8, 0, b"A")
        assert host.context.get(host.inbox.session) == 8
        await host.send(8, 1, b"B")
        blocked.clear()
        await host.tick(20)
        assert host.following == 0  # its first bytes had no place
        await host.send(8, 0, b"A")
        await host.tick(20)
        assert host.following == 2

    blocked = [True]
    assert run(testbench, takes=lambda: not blocked) == b"\0AB"


def test_packets_that_are_too_short_or_too_long():
    async def testbench(host):
        await host.send(7, 0, b"a")
        for size in range(TO_BOARD.size):
            await host.raw(TO_BOARD.pack(7, 1)[:size])
        await host.send(7, 1, bytes(MOST + 1))
        await host.send(7, 1, bytes(MOST + 300))
        assert host.following == 1
        await host.send(7, 1, b"b")

    assert run(testbench) == b"ab"


def test_a_host_that_repeats_itself_is_told():
    async def testbench(host):
        await host.send(7, 0, b"a")
        await host.tick(5)
        assert host.told == 1
        await host.send(7, 0, b"a")
        assert host.told == 2
        await host.send(7, 1 + SLOTS, b"z")
        assert host.told == 3
        await host.send(6, 1, b"z")
        assert host.told == 3

    assert run(testbench) == b"a"
