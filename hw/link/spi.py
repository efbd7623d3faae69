"""An SPI slave: it receives bytes from an SPI master and sends bytes back while the master clocks."""

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Module, Mux, ResetSignal, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import AsyncFIFO
from amaranth.lib.wiring import In, Out

from haarlequin.hw.link.stuffer import Stuffer
from haarlequin.hw.link.stuffing import FLAG

DEPTH = 16
"""Bytes that wait on the way between the two clocks, in each direction."""


class SpiSlave(wiring.Component):
    """An SPI slave of mode 0, with the highest bit of a byte first.

    SCK is a clock of its own, with a FIFO in each direction. It may be faster than the machine's clock, as
    long as a byte, eight periods, takes longer than a cycle. A byte that finds its FIFO full is lost.

    What is sent goes through a `Stuffer`, and where there is nothing to send, a `FLAG` is sent: the master
    cannot know when a byte will be there. What is received is taken as it is, since the receiver of frames
    skips what comes between them.

    CIPO changes after the rising edge of SCK at which the master has sampled it, and so has a whole period to
    get there. (Other slaves change it at the falling edge, half a period later.)

    A master that stops within a byte has not sent it, and has missed a part of an answer. Bytes may come in
    as many runs of ``cs`` as one likes.

    Members
    -------
    sck : In(1)
        The pin of the master's clock, which rests low.
    cs : In(1)
        The master talks to this slave; without it, ``sck`` and ``copi`` do not matter. Low at the pin.
    copi : In(1)
        The pin on which bits arrive.
    cipo : Out(1)
        The pin on which bits are sent.
    received : Out(stream.Signature(8))
        Bytes that have arrived.
    to_send : In(stream.Signature(8))
        Bytes to send.

    A reset leaves the FIFOs as they are: both of their clocks would have to see it.
    """

    sck: In(1)
    cs: In(1)
    copi: In(1)
    cipo: Out(1)
    received: Out(stream.Signature(8))
    to_send: In(stream.Signature(8))

    def elaborate(self, platform):
        m = Module()
        # Two domains of one clock: the count of bits alone is reset whenever the master lets go.
        m.domains.sck = ClockDomain(reset_less=True, local=True)
        m.domains.bits = ClockDomain(async_reset=True, local=True)
        m.d.comb += [
            ClockSignal("sck").eq(self.sck),
            ClockSignal("bits").eq(self.sck),
            ResetSignal("bits").eq(~self.cs),
        ]
        # `hw.families.family.PREPARE` knows memories with two clocks by these names.
        m.submodules.crossing_in = inward = AsyncFIFO(width=8, depth=DEPTH, w_domain="sck", r_domain="sync")
        m.submodules.crossing_out = outward = AsyncFIFO(width=8, depth=DEPTH, w_domain="sync", r_domain="sck")
        m.submodules.stuffer = stuffer = Stuffer()
        wiring.connect(m, wiring.flipped(self.to_send), stuffer.said)
        wiring.connect(m, stuffer.line, outward.w_stream)
        wiring.connect(m, inward.r_stream, wiring.flipped(self.received))

        count, arrived, leaving = Signal(range(8)), Signal(7), Signal(8, init=FLAG)
        last, byte = Signal(), Cat(self.copi, arrived)
        m.d.bits += count.eq(count + 1)
        m.d.comb += [
            last.eq(self.cs & (count == 7)),
            inward.w_data.eq(byte),
            inward.w_en.eq(last),
            outward.r_en.eq(last),
            self.cipo.eq(leaving[-1]),
        ]
        with m.If(last):
            m.d.sck += leaving.eq(Mux(outward.r_rdy, outward.r_data, FLAG))
        with m.Elif(self.cs):
            m.d.sck += [arrived.eq(byte), leaving.eq(Cat(0, leaving))]
        return m
