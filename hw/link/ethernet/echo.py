"""The message of a ping, until it has been sent back."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

PLACES = 2048
"""Bytes of a message at most; a frame has room for 1,480."""

BEFORE, SHORTEST = 4, 8
"""Bytes of a message before its identifier: type, code and checksum; and of its whole header."""


class EchoBuffer(wiring.Component):
    """Keeps an ICMP message while it comes, and after it, if it was an echo request.

    Members
    -------
    begin : In(1)
        No byte of a packet has come yet.
    body : In(8)
        A byte of a packet.
    strobe : In(1)
        It belongs to an ICMP message, if this is one.
    echo : In(1)
        High for a cycle: this was an echo request.
    busy : In(1)
        Something is to be answered already: what is here has to stay, and nothing else is taken.
    taken : Out(1)
        High in the same cycle as ``echo``: the message is here.
    length : Out(range(PLACES))
        Its bytes.
    checksum : Out(16)
        Its checksum, as it came.
    at : In(range(PLACES))
        The byte of it to read.
    enable : In(1)
        Read it.
    data : Out(8)
        The byte, a cycle later.
    """

    begin: In(1)
    body: In(8)
    strobe: In(1)
    echo: In(1)
    busy: In(1)
    taken: Out(1)
    length: Out(range(PLACES))
    checksum: Out(16)
    at: In(range(PLACES))
    enable: In(1)
    data: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.submodules.message = message = Memory(shape=8, depth=PLACES, init=[])
        write, read = message.write_port(), message.read_port()
        keeps, count = Signal(), Signal(range(PLACES))
        m.d.comb += [
            write.addr.eq(count),
            write.data.eq(self.body),
            write.en.eq(self.strobe & keeps),
            self.taken.eq(self.echo & keeps & (count >= SHORTEST)),
            read.addr.eq(self.at),
            read.en.eq(self.enable),
            self.data.eq(read.data),
        ]
        # Whoever is busy at the beginning of a packet does not see all of it.
        with m.If(self.begin):
            m.d.sync += keeps.eq(~self.busy)
            with m.If(~self.busy):
                m.d.sync += count.eq(0)
        with m.Elif(self.strobe & keeps):
            m.d.sync += count.eq(count + 1)
            for place, half in ((2, 1), (3, 0)):
                with m.If(count == place):
                    m.d.sync += self.checksum.word_select(half, 8).eq(self.body)
        with m.If(self.taken):
            m.d.sync += self.length.eq(count)
        return m
