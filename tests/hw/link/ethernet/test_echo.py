import random

import pytest

from haarlequin.hw.link.ethernet.echo import EchoBuffer
from haarlequin.sim.ethernet.packets import echo
from tests.hw.bench import simulate


class Sender:
    """Sends messages to a buffer."""

    def __init__(self, context, buffer):
        self.context, self.buffer = context, buffer

    async def message(self, data, is_echo=True, busy_after=None):
        """A message; the buffer is busy from that byte on. Returns whether it was taken."""
        context, buffer = self.context, self.buffer
        context.set(buffer.begin, 0)
        for at, byte in enumerate(data):
            if at == busy_after:
                context.set(buffer.busy, 1)
            context.set(buffer.body, byte)
            context.set(buffer.strobe, 1)
            await context.tick()
        context.set(buffer.strobe, 0)
        await context.tick().repeat(4)
        context.set(buffer.begin, 1)
        context.set(buffer.echo, is_echo)
        taken = bool(context.get(buffer.taken))
        await context.tick()
        context.set(buffer.echo, 0)
        context.set(buffer.busy, taken or busy_after is not None)
        await context.tick()
        return taken

    async def read(self):
        context, buffer = self.context, self.buffer
        came = bytearray()
        context.set(buffer.enable, 1)
        for at in range(context.get(buffer.length)):
            context.set(buffer.at, at)
            await context.tick()
            came.append(context.get(buffer.data))
        return bytes(came)


def run(testbench):
    buffer = EchoBuffer()

    async def bench(context):
        context.set(buffer.begin, 1)
        await context.tick()
        await testbench(Sender(context, buffer))

    simulate(buffer, bench)


@pytest.mark.parametrize("size", [0, 1, 56, 1472])
def test_a_message_is_kept_until_it_has_been_answered(size):
    message = echo(8, 3, 4, random.Random(size).randbytes(size))

    async def testbench(sender):
        assert await sender.message(message)
        assert not await sender.message(echo(8, 9, 9, b"another"))
        assert await sender.read() == message
        assert sender.context.get(sender.buffer.checksum).to_bytes(2, "big") == message[2:4]
        sender.context.set(sender.buffer.busy, 0)
        await sender.context.tick().repeat(2)
        assert await sender.message(echo(8, 1, 2, b"next"))
        assert await sender.read() == echo(8, 1, 2, b"next")

    run(testbench)


def test_what_is_no_echo_request_is_not_kept():
    async def testbench(sender):
        assert not await sender.message(bytes(range(100)), is_echo=False)
        assert await sender.message(echo(8, 3, 4, b"after"))
        assert await sender.read() == echo(8, 3, 4, b"after")

    run(testbench)


def test_a_message_shorter_than_its_header():
    async def testbench(sender):
        for size in range(8):
            assert not await sender.message(echo(8, 3, 4, b"")[:size])
        assert await sender.message(echo(8, 3, 4, b""))

    run(testbench)


def test_a_message_that_begins_while_another_is_answered_is_not_seen():
    """Though that has been answered before its end."""

    async def testbench(sender):
        sender.context.set(sender.buffer.busy, 1)
        await sender.context.tick().repeat(2)
        sender.context.set(sender.buffer.begin, 0)
        await sender.context.tick()
        sender.context.set(sender.buffer.busy, 0)
        assert not await sender.message(echo(8, 3, 4, b"late"))
        assert await sender.message(echo(8, 3, 4, b"again"))

    run(testbench)
