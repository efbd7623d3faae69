"""A master of FTDI's synchronous FIFO: bytes in and out over eight wires, by the 60 MHz of an FT232H."""

from collections.abc import Callable

from amaranth.hdl import ClockDomain, ClockSignal, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import AsyncFIFO
from amaranth.lib.wiring import In, Out

FIFO_HZ = 60_000_000
"""The clock that the chip gives."""

DEPTH = 16
"""Bytes that wait on the way between the two clocks, in each direction."""

QUIET = 256
"""Cycles of the chip's clock, about four microseconds, after which a packet goes out though it is not full.
The words of a RESULT follow each other faster."""

PULSE = 15
"""Cycles for which the chip is then told so."""

Register = Callable[[Module, str, Value], Value]
"""A function that puts a register, which begins high, before a pin: given the module, the domain and the
value of the next cycle, a bit, it returns the register's output."""


def flip_flop(m: Module, domain: str, value: Value) -> Value:
    """A `Register` of the fabric."""
    held = Signal(init=1)
    m.d[domain] += held.eq(value)
    return held


class FifoMaster(wiring.Component):
    """The FPGA's end of the synchronous FIFO of an FT232H (DS_FT232H, section 4.4; AN_130).

    The chip takes or gives a byte at each rising edge of CLKOUT at which a strobe of the FPGA and the flag of
    the chip are both low: RD# and RXF#, or WR# and TXE#. Either flag may go high at any edge, also in
    the middle of a burst: the byte on the wires is then offered again. Both directions have flow control, and
    no byte is lost.

    The bus has one direction at a time. To read, OE# goes low a cycle before RD#; to write, the FPGA drives
    the wires a cycle before WR#. Between the two there is a cycle in which nobody drives. What is to be
    sent comes first, and a burst of reading ends for it, after one byte at least. While the chip takes
    nothing, reading goes on: a host that sends and does not listen is not stuck.

    The chip keeps what it is given until it has a packet of 510 bytes, or its latency timer ends, in
    milliseconds. So SIWU# tells it to send what it has once `QUIET` cycles have passed since the last byte.

    Everything that goes to the chip comes out of a register, since the chip wants it 7.5 ns before the edge,
    of 16.7 ns. RXF# and the data, valid after 9 ns, go into registers as they are; TXE# alone passes
    through a few gates, because it decides whether the byte on the wires has to stay there.

    Parameters
    ----------
    register : Register
        Makes the registers of the strobes and the data, for parts that have registers at their pins.

    Members
    -------
    clkout : In(1)
        The chip's clock, of `FIFO_HZ`. It runs only while a host has the chip in this mode.
    rxf_n, txe_n : In(1)
        Low: the chip has a byte, or has room for one.
    data_in : In(8)
        The wires of the data.
    data_out : Out(8)
        What the FPGA drives onto them.
    driving : Out(1)
        The FPGA drives them.
    oe_n : Out(1)
        Low: the chip drives them.
    rd_n, wr_n, siwu_n : Out(1)
        Low: the byte is read, a byte is written, or what the chip holds is to be sent at once.
    received : Out(stream.Signature(8))
        Bytes that have arrived.
    to_send : In(stream.Signature(8))
        Bytes to send.

    A byte is there four cycles of ``clkout`` and three of ``sync`` after the chip had it, and a byte to send
    is on the wires after two of ``sync`` and four of ``clkout`` at best. At best each cycle of a burst has a
    byte. A reset leaves what waits as it is: both of the clocks would have to see it.
    """

    clkout: In(1)
    rxf_n: In(1)
    txe_n: In(1)
    data_in: In(8)
    data_out: Out(8)
    driving: Out(1)
    oe_n: Out(1, init=1)
    rd_n: Out(1, init=1)
    wr_n: Out(1, init=1)
    siwu_n: Out(1, init=1)
    received: Out(stream.Signature(8))
    to_send: In(stream.Signature(8))

    def __init__(self, register: Register = flip_flop):
        self._register = register
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.domains.fifo = ClockDomain(reset_less=True, local=True)
        m.d.comb += ClockSignal("fifo").eq(self.clkout)
        # `hw.families.family.PREPARE` knows memories with two clocks by these names.
        m.submodules.crossing_in = inward = AsyncFIFO(width=8, depth=DEPTH, w_domain="fifo", r_domain="sync")
        m.submodules.crossing_out = outward = AsyncFIFO(
            width=8, depth=DEPTH, w_domain="sync", r_domain="fifo"
        )
        wiring.connect(m, inward.r_stream, wiring.flipped(self.received))
        wiring.connect(m, wiring.flipped(self.to_send), outward.w_stream)

        # The strobes as they are at the pins now: a register at a pin cannot be read.
        enabled, reading, writing = Signal(), Signal(), Signal()
        will_enable, will_drive = Signal(), Signal()

        # Reading. Until a byte is counted in the level, which is a cycle late, four more may be on the way.
        there, room, came = Signal(), Signal(), Signal(8)
        arrived = Signal()
        m.d.fifo += [there.eq(~self.rxf_n), came.eq(self.data_in), arrived.eq(reading & ~self.rxf_n)]
        m.d.comb += [
            room.eq(inward.w_level <= DEPTH - 4),
            inward.w_data.eq(came),
            inward.w_en.eq(arrived),
        ]

        # Writing: the byte on the wires stays there until the chip has taken it.
        byte, held, sent, free = Signal(8), Signal(), Signal(), Signal()
        next_byte, next_held = Signal(8), Signal()
        takes = Signal()
        m.d.comb += [
            sent.eq(writing & ~self.txe_n),
            free.eq(~held | sent),
            outward.r_en.eq(free),
            next_byte.eq(Mux(free, outward.r_data, byte)),
            next_held.eq(~free | outward.r_rdy),
        ]
        m.d.fifo += [byte.eq(next_byte), held.eq(next_held), takes.eq(~self.txe_n)]

        can_read, can_write = Signal(), Signal()
        m.d.comb += [
            can_read.eq(there & room),
            can_write.eq(next_held & takes),
            # A first cycle without RD#, then as long as there is something to read and nothing to write.
            will_enable.eq((enabled & ~reading) | (~self.driving & can_read & ~can_write)),
            will_drive.eq(~enabled & can_write),
        ]
        will_read, will_write = enabled & will_enable, self.driving & will_drive
        m.d.fifo += [
            enabled.eq(will_enable),
            reading.eq(will_read),
            self.driving.eq(will_drive),
            writing.eq(will_write),
        ]

        quiet = Signal(range(QUIET + PULSE + 1), init=QUIET + PULSE)
        m.d.fifo += quiet.eq(Mux(sent, 0, quiet + (quiet != QUIET + PULSE)))
        hurry = (quiet >= QUIET) & (quiet != QUIET + PULSE)

        for pin, value in (
            (self.oe_n, ~will_enable),
            (self.rd_n, ~will_read),
            (self.wr_n, ~will_write),
            (self.siwu_n, ~hurry),
            *zip(self.data_out, next_byte, strict=True),
        ):
            m.d.comb += pin.eq(self._register(m, "fifo", value[0]))
        return m
