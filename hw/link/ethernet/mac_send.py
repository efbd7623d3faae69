"""The sending half of a MAC: preamble, padding, frame check sequence and the gap between frames."""

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.link.ethernet.mac_receive import CRC, PREAMBLE, SHORTEST, START
from haarlequin.hw.link.ethernet.rgmii import GMII

FRAME_BYTE = data.StructLayout({"data": 8, "last": 1})
"""A byte of a frame; ``last``: no other one follows."""

PREAMBLE_BYTES, CHECK_BYTES, GAP = 7, 4, 12
"""Bytes before the one that begins a frame, of its check sequence, and of the gap after it (IEEE 802.3)."""


class MacSender(wiring.Component):
    """Puts a preamble before each frame, fills it up with zeros, and adds its frame check sequence.

    Members
    -------
    frame : In(stream.Signature(FRAME_BYTE))
        The bytes of a frame from its destination on. The first one waits for the preamble; all others must be
        there when they are asked for, one per cycle, since a frame on the line has no gaps.
    line : Out(GMII)
        The bytes to the PHY, two cycles late.
    """

    frame: In(stream.Signature(FRAME_BYTE))
    line: Out(GMII)

    def elaborate(self, platform):
        m = Module()
        restart, crc = Signal(), CRC.create()
        m.submodules.crc = ResetInserter(restart)(crc)
        byte, valid, checked = Signal(8), Signal(), Signal()
        # The number of the byte within what the state sends; in a frame it stays at that of the shortest one.
        count, enough = Signal(range(SHORTEST)), Signal()
        m.d.comb += [
            crc.data.eq(byte),
            crc.valid.eq(checked),
            enough.eq(count == SHORTEST - CHECK_BYTES - 1),
        ]
        m.d.sync += [byte.eq(0), valid.eq(1), checked.eq(0), count.eq(count + 1)]
        # The check sequence is whole a cycle after the last byte was in `byte`, as that leaves.
        checking = Signal()
        m.d.sync += [checking.eq(0), self.line.valid.eq(valid), self.line.data.eq(byte)]
        with m.If(checking):
            m.d.sync += self.line.data.eq(crc.crc.word_select((count - 1)[:2], 8))
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [valid.eq(0), count.eq(0)]
                with m.If(self.frame.valid):
                    m.next = "PREAMBLE"
            with m.State("PREAMBLE"):
                m.d.comb += restart.eq(1)
                m.d.sync += byte.eq(PREAMBLE)
                with m.If(count == PREAMBLE_BYTES):
                    m.d.sync += [byte.eq(START), count.eq(0)]
                    m.next = "FRAME"
            with m.State("FRAME"):
                m.d.comb += self.frame.ready.eq(1)
                m.d.sync += [byte.eq(self.frame.p.data), checked.eq(1)]
                with m.If(enough):
                    m.d.sync += count.eq(count)
                with m.If(self.frame.p.last):
                    m.next = "PADDING"
                    with m.If(enough):
                        m.d.sync += count.eq(0)
                        m.next = "CHECK"
            with m.State("PADDING"):
                m.d.sync += checked.eq(1)
                with m.If(enough):
                    m.d.sync += count.eq(0)
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += checking.eq(1)
                with m.If(count == CHECK_BYTES - 1):
                    m.d.sync += count.eq(0)
                    m.next = "GAP"
            with m.State("GAP"):
                m.d.sync += valid.eq(0)
                with m.If(count == GAP - 1):
                    m.next = "IDLE"
        return m
