"""Bits on the wires of USB at full speed: NRZI with stuffed bits (USB 2.0, sections 7.1.8 to 7.1.10)."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from haarlequin.sim.usb.packets import Pid

ONES = 6
"""A bit is stuffed in after that many ones."""

SYNC = 0x80
"""The byte before each packet, by which the receiver finds the bits."""

POLYNOMIAL, RESIDUE = 0xA001, 0xB001
"""The checksum's polynomial, the lowest bit first, and its remainder where it is right (section 8.3.5.2)."""


class Sender(wiring.Component):
    """Sends packets.

    Parameters
    ----------
    bit : int
        Cycles of a bit.

    Members
    -------
    start : In(1)
        Begin a packet with the next cycle.
    byte, valid : In(8), In(1)
        The next byte of the packet, and whether there is one; without one, the packet ends.
    ready : Out(1)
        The byte is taken.
    done : Out(1)
        The packet has ended, in this cycle.
    d_p, d_n, driving : Out(1)
        The wires, while ``driving`` is high.
    """

    start: In(1)  # type: ignore[valid-type]  # Amaranth's ports are annotated by values
    byte: In(8)  # type: ignore[valid-type]
    valid: In(1)  # type: ignore[valid-type]
    ready: Out(1)  # type: ignore[valid-type]
    done: Out(1)  # type: ignore[valid-type]
    d_p: Out(1)  # type: ignore[valid-type]
    d_n: Out(1)  # type: ignore[valid-type]
    driving: Out(1)  # type: ignore[valid-type]

    def __init__(self, bit: int):
        self._bit = bit
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        phase, tick = Signal(range(self._bit)), Signal()
        left, shift = Signal(range(9)), Signal(8)
        ones, level, silent = Signal(range(ONES + 1)), Signal(init=1), Signal()
        bit = Signal()
        m.d.comb += [
            tick.eq(phase == self._bit - 1),
            bit.eq(Mux(left == 0, self.byte[0], shift[0])),
            self.d_p.eq(level & ~silent),
            self.d_n.eq(~level & ~silent),
        ]
        m.d.sync += phase.eq(Mux(tick, 0, phase + 1))
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [phase.eq(0), level.eq(1)]
                with m.If(self.start):
                    m.d.sync += [left.eq(8), shift.eq(SYNC), ones.eq(0)]
                    m.next = "BITS"
            with m.State("BITS"):
                m.d.comb += self.driving.eq(1)
                with m.If(tick):
                    with m.If(ones == ONES):
                        m.d.sync += [ones.eq(0), level.eq(~level)]
                    with m.Elif((left == 0) & ~self.valid):
                        m.d.sync += [silent.eq(1), left.eq(2)]
                        m.next = "END"
                    with m.Else():
                        m.d.comb += self.ready.eq(left == 0)
                        m.d.sync += [
                            ones.eq(Mux(bit, ones + 1, 0)),
                            level.eq(level ^ ~bit),
                            shift.eq(Mux(left == 0, self.byte, shift) >> 1),
                            left.eq(Mux(left == 0, 7, left - 1)),
                        ]
            with m.State("END"):
                m.d.comb += self.driving.eq(1)
                with m.If(tick):
                    m.d.sync += [left.eq(left - 1), level.eq(1)]
                    with m.If(left == 1):
                        m.d.sync += silent.eq(0)
                    with m.If(left == 0):
                        m.d.comb += self.done.eq(1)
                        m.next = "IDLE"
        return m


class Receiver(wiring.Component):
    """Receives packets.

    Parameters
    ----------
    bit : int
        Cycles of a bit, at least 4.

    Members
    -------
    d_p, d_n : In(1)
        The wires.
    active : Out(1)
        A packet is coming.
    byte, strobe : Out(8), Out(1)
        A byte of it, and that it is there in this cycle.
    ended : Out(1)
        The packet has ended, and the wires rest, in this cycle.
    broken : Out(1)
        It ended within a byte, or a bit that is stuffed in was no zero.
    right : Out(1)
        It has data, and their checksum is right.
    """

    d_p: In(1)  # type: ignore[valid-type]
    d_n: In(1)  # type: ignore[valid-type]
    active: Out(1)  # type: ignore[valid-type]
    byte: Out(8)  # type: ignore[valid-type]
    strobe: Out(1)  # type: ignore[valid-type]
    ended: Out(1)  # type: ignore[valid-type]
    broken: Out(1)  # type: ignore[valid-type]
    right: Out(1)  # type: ignore[valid-type]

    def __init__(self, bit: int):
        self._bit = bit
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        wires, before = Signal(2), Signal(2)
        m.submodules.wires = FFSynchronizer(Cat(self.d_p, self.d_n), wires)
        phase, sample = Signal(range(self._bit)), Signal()
        same = (wires == before) & (phase != self._bit - 1)
        m.d.sync += [before.eq(wires), phase.eq(Mux(same, phase + 1, 0))]
        m.d.comb += sample.eq((phase == self._bit // 2 - 1) & (wires == before))

        idle, other, silent = Const(0b01), Const(0b10), wires == 0
        level, bit = Signal(2), Signal()
        count, first, ones = Signal(range(8)), Signal(), Signal(range(ONES + 1))
        error, data, register = Signal(), Signal(), Signal(16)
        m.d.comb += [bit.eq(wires == level), self.broken.eq(error | (count != 0))]
        m.d.comb += self.right.eq(data & (register == RESIDUE))
        with m.If(sample):
            m.d.sync += level.eq(wires)
        with m.FSM():
            with m.State("IDLE"), m.If(sample & (wires == other)):
                m.d.sync += level.eq(other)
                m.next = "SYNC"
            with m.State("SYNC"):
                m.d.comb += self.active.eq(1)
                with m.If(sample & bit):
                    m.d.sync += [count.eq(0), first.eq(1), ones.eq(1), error.eq(0), register.eq(0xFFFF)]
                    m.next = "BITS"
            with m.State("BITS"):
                m.d.comb += self.active.eq(1)
                with m.If(sample & silent):
                    m.next = "END"
                with m.Elif(sample & (ones == ONES)):
                    m.d.sync += [ones.eq(0), error.eq(error | bit)]
                with m.Elif(sample):
                    byte = Cat(self.byte[1:], bit)
                    m.d.sync += [
                        ones.eq(Mux(bit, ones + 1, 0)),
                        self.byte.eq(byte),
                        count.eq(count + 1),
                        self.strobe.eq(count == 7),
                    ]
                    with m.If(count == 7):
                        m.d.sync += first.eq(0)
                    with m.If(first & (count == 7)):
                        m.d.sync += data.eq((byte == Pid.DATA0.byte) | (byte == Pid.DATA1.byte))
                    with m.If(~first):
                        m.d.sync += register.eq((register >> 1) ^ Mux(register[0] ^ bit, POLYNOMIAL, 0))
            with m.State("END"):
                m.d.comb += self.active.eq(1)
                with m.If(sample & (wires == idle)):
                    m.d.comb += self.ended.eq(1)
                    m.next = "IDLE"
        with m.If(self.strobe):
            m.d.sync += self.strobe.eq(0)
        return m
