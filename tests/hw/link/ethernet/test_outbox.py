import random

import pytest
from amaranth.sim import Simulator

from haarlequin.hw.link.ethernet.datagrams import MOST
from haarlequin.hw.link.ethernet.outbox import AGE, QUIET, Outbox
from tests.hw.bench import LIMIT, limited


def datagrams(chunks, pauses=0, slow=0):
    """The datagrams that come of these bytes, each followed by so many cycles without any; and their numbers.

    The receiver waits ``slow`` cycles before it reads one.
    """
    outbox, came = Outbox(), []

    async def feed(context):
        for chunk in chunks:
            for byte in chunk:
                context.set(outbox.to_send.payload, byte)
                context.set(outbox.to_send.valid, 1)
                await context.tick().until(outbox.to_send.ready)
            context.set(outbox.to_send.valid, 0)
            if pauses:
                await context.tick().repeat(pauses)

    async def read(context):
        data = bytearray()
        while sum(map(len, came_bytes())) < sum(map(len, chunks)):
            await context.tick().until(outbox.due)
            if slow:
                await context.tick().repeat(slow)
            length = context.get(outbox.length)
            context.set(outbox.enable, 1)
            for at in range(length):
                context.set(outbox.at, at)
                await context.tick()
                data.append(context.get(outbox.data))
            assert context.get(outbox.due)
            came.append((context.get(outbox.number), bytes(data)))
            data.clear()
            context.set(outbox.sent, 1)
            await context.tick()
            context.set(outbox.sent, 0)
        await context.tick().repeat(2 * QUIET)
        assert not context.get(outbox.due)

    def came_bytes():
        return [data for _, data in came]

    simulator = Simulator(outbox)
    simulator.add_clock(1e-6)
    simulator.add_testbench(feed, background=True)
    simulator.add_testbench(read)
    with limited(LIMIT):
        simulator.run()
    assert [number for number, _ in came] == list(range(len(came)))
    return came_bytes()


def noise(size):
    return random.Random(size).randbytes(size)


def test_a_datagram_goes_when_it_is_full_or_nothing_comes():
    data = noise(2 * MOST + 5)
    assert datagrams([data]) == [data[:MOST], data[MOST : 2 * MOST], data[2 * MOST :]]


@pytest.mark.parametrize("size", [1, MOST - 1, MOST])
def test_pauses_end_a_datagram_and_shorter_ones_do_not(size):
    assert datagrams([noise(size), b"b", b"c"], QUIET + 4) == [noise(size), b"b", b"c"]
    if size == 1:
        assert datagrams([b"a", b"b", b"c"], QUIET - 2) == [b"abc"]


def test_bytes_that_come_slowly_do_not_wait_for_a_thousand():
    data = noise(40)
    came = datagrams([bytes([byte]) for byte in data], QUIET - 2)
    assert b"".join(came) == data
    assert {len(each) for each in came[:-1]} == {AGE // (QUIET - 1) + 1}


def test_a_receiver_that_is_slow_loses_nothing():
    data = noise(5 * MOST + 1)
    assert b"".join(datagrams([data], slow=3 * MOST)) == data
