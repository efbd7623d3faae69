"""The receiving half of a MAC: the bytes of each frame, and whether its frame check sequence is right."""

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.crc import catalog
from amaranth.lib.wiring import In, Out

from haarlequin.hw.link.ethernet.rgmii import GMII

CRC = catalog.CRC32_ETHERNET(8)
"""The frame check sequence, for one byte per cycle."""

PREAMBLE, START = 0x55, 0xD5
"""The bytes before a frame: seven or fewer, as the PHY has seen them, and one that ends them."""

SHORTEST, LONGEST = 64, 1518
"""Bytes of a frame with its check sequence (IEEE 802.3, section 3.2)."""


class MacReceiver(wiring.Component):
    """Takes the preamble away, and checks length and frame check sequence.

    A frame that does not begin with a preamble is no frame. One that the PHY marks as damaged, or that is
    shorter or longer than `SHORTEST` and `LONGEST`, is not intact.

    Members
    -------
    line : In(GMII)
        The bytes from the PHY.
    data : Out(8)
        A byte of a frame, two cycles after ``line`` had it. The check sequence comes last.
    strobe : Out(1)
        There is a byte.
    ended : Out(1)
        The frame has ended; high for a cycle, at least one after the last byte.
    intact : Out(1)
        It was whole and undamaged, valid while ``ended`` is high.
    """

    line: In(GMII)
    data: Out(8)
    strobe: Out(1)
    ended: Out(1)
    intact: Out(1)

    def elaborate(self, platform):
        m = Module()
        restart, crc = Signal(), CRC.create()
        m.submodules.crc = ResetInserter(restart)(crc)
        data, valid, error = Signal(8), Signal(), Signal()
        m.d.sync += [data.eq(self.line.data), valid.eq(self.line.valid), error.eq(self.line.error)]
        count, damaged = Signal(range(LONGEST + 2)), Signal()
        m.d.comb += [crc.data.eq(self.data), crc.valid.eq(self.strobe)]
        m.d.sync += [self.data.eq(data), self.strobe.eq(0), self.ended.eq(0)]
        right, long_enough = Signal(), Signal()
        m.d.sync += [right.eq(crc.match_detected), long_enough.eq(count >= SHORTEST)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += restart.eq(1)
                m.d.sync += [count.eq(0), damaged.eq(0)]
                with m.If(valid & (data == START)):
                    m.next = "FRAME"
                with m.Elif(valid & (data != PREAMBLE)):
                    m.next = "SKIP"
            with m.State("FRAME"):
                with m.If(valid):
                    m.d.sync += [
                        self.strobe.eq(1),
                        count.eq(count + (count != LONGEST + 1)),
                        damaged.eq(damaged | error),
                    ]
                with m.Else():
                    m.next = "CHECK"
            # The last byte is in the check sequence after the first of these, and compared after the second.
            with m.State("CHECK"):
                m.next = "COMPARED"
            with m.State("COMPARED"):
                m.next = "END"
            with m.State("END"):
                m.d.sync += [
                    self.ended.eq(1),
                    self.intact.eq(right & long_enough & (count != LONGEST + 1) & ~damaged),
                ]
                m.next = "IDLE"
            with m.State("SKIP"), m.If(~valid):
                m.next = "IDLE"
        return m
