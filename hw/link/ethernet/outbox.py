"""Bytes for the host, gathered into datagrams."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.link.ethernet.datagrams import MOST, NUMBERS

QUIET = 512
"""Cycles, about four microseconds, after which a datagram is sent though it is not full. The words of a
RESULT follow each other faster."""

AGE = 4096
"""Cycles, 33 microseconds, after which it is sent though bytes go on coming. Words of tables are read slowly,
and a host should not wait for a thousand bytes of them."""


class Outbox(wiring.Component):
    """Gathers bytes into datagrams: `MOST` of them, or those after which none came for `QUIET` cycles, or
    those of `AGE` cycles.

    While one datagram is sent, the next one is gathered.

    Members
    -------
    to_send : In(stream.Signature(8))
        The bytes.
    due : Out(1)
        A datagram is whole. It stays so until ``sent``.
    length : Out(range(MOST + 1))
        Its bytes, valid while ``due`` is high.
    number : Out(16)
        Its number, or that of the next one.
    at : In(range(MOST))
        The byte of it to read.
    enable : In(1)
        Read it.
    data : Out(8)
        The byte, a cycle later.
    sent : In(1)
        High for a cycle: the datagram has left.
    """

    to_send: In(stream.Signature(8))
    due: Out(1)
    length: Out(range(MOST + 1))
    number: Out(ceil_log2(NUMBERS))
    at: In(range(MOST))
    enable: In(1)
    data: Out(8)
    sent: In(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.halves = halves = Memory(shape=8, depth=2 * MOST, init=[])
        write, read = halves.write_port(), halves.read_port()
        lengths = Array(Signal(range(MOST + 1), name=f"length_{half}") for half in range(2))
        full, filling, sending = Signal(2), Signal(), Signal()
        count, quiet = Signal(range(MOST + 1)), Signal(range(QUIET))
        taken, whole = Signal(), Signal()
        m.d.comb += [
            self.to_send.ready.eq(~full.bit_select(filling, 1) & ~whole),
            taken.eq(self.to_send.valid & self.to_send.ready),
            write.addr.eq(Cat(count[: ceil_log2(MOST)], filling)),
            write.data.eq(self.to_send.payload),
            write.en.eq(taken),
            read.addr.eq(Cat(self.at, sending)),
            read.en.eq(self.enable),
            self.data.eq(read.data),
            self.due.eq(full.bit_select(sending, 1)),
            self.length.eq(lengths[sending]),
        ]
        # Registered: the count decides whether the next byte is taken.
        age, late = Signal(range(AGE)), Signal()
        m.d.comb += late.eq(((quiet == QUIET - 1) | (age == AGE - 1)) & ~taken & ~whole)
        m.d.sync += [
            quiet.eq(Mux(taken | (count == 0), 0, quiet + (quiet != QUIET - 1))),
            age.eq(Mux(count == 0, 0, age + (age != AGE - 1))),
            whole.eq((taken & (count == MOST - 1)) | late),
        ]
        with m.If(whole):
            m.d.sync += [count.eq(0), quiet.eq(0), age.eq(0), filling.eq(~filling)]
            m.d.sync += lengths[filling].eq(count)
        with m.Elif(taken):
            m.d.sync += count.eq(count + 1)
        done, ended = Signal(2), Signal(2)
        m.d.comb += [done.eq(whole << filling), ended.eq(self.sent << sending)]
        m.d.sync += full.eq((full | done) & ~ended)
        with m.If(self.sent):
            m.d.sync += [sending.eq(~sending), self.number.eq(self.number + 1)]
        return m
