"""The PHY at a simulated board's pins: frames that a computer sends become bytes of GMII, and back."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from haarlequin.hw.link.ethernet.rgmii import GMII

HELD = 4096
"""Bytes of frames that wait in either direction; a frame has at most half of them."""

GAP = 12
"""Bytes between two frames, at least."""

DAMAGED = 0x8000
"""The bit of a length that says that the PHY marks the frame's last byte as damaged."""


class Phy(wiring.Component):
    """The line's end at a board. A frame is its length, two bytes, lowest first, and the bytes on the line,
    from the preamble to the check sequence, whatever they are.

    It goes onto the board's wires once it is whole, as fast as a gigabit is, and so do those from the board.

    Members
    -------
    rx : In(stream.Signature(8))
        Frames from the computer.
    tx : Out(stream.Signature(8))
        Frames to it.
    tick : In(1)
        High in every cycle in which a byte moves on the wires.
    to_board : Out(GMII)
        The bytes to the board.
    from_board : In(GMII)
        The bytes from it.
    """

    rx: In(stream.Signature(8))  # type: ignore[valid-type]
    tx: Out(stream.Signature(8))  # type: ignore[valid-type]
    tick: In(1)  # type: ignore[valid-type]
    to_board: Out(GMII)  # type: ignore[valid-type]
    from_board: In(GMII)  # type: ignore[valid-type]

    def elaborate(self, platform):
        m = Module()
        self._forth(m)
        self._back(m)
        return m

    def _forth(self, m: Module) -> None:
        m.submodules.forth = forth = SyncFIFOBuffered(width=8, depth=HELD)
        length, low, left, damaged = Signal(15), Signal(8), Signal(15), Signal()
        wires, gap = self.to_board, Signal(range(GAP + 1))
        wiring.connect(m, wiring.flipped(self.rx), forth.w_stream)
        with m.If(self.tick):
            m.d.sync += [wires.valid.eq(0), wires.error.eq(0), gap.eq(gap - (gap != 0))]
        with m.FSM():
            with m.State("LOW"), m.If(forth.r_rdy):
                m.d.comb += forth.r_en.eq(1)
                m.d.sync += low.eq(forth.r_data)
                m.next = "HIGH"
            with m.State("HIGH"), m.If(forth.r_rdy):
                m.d.comb += forth.r_en.eq(1)
                m.d.sync += Cat(length, damaged).eq(Cat(low, forth.r_data))
                m.next = "WHOLE"
            with m.State("WHOLE"):
                m.d.sync += left.eq(length)
                with m.If((forth.level >= length) & (gap == 0)):
                    m.next = "PLAY"
            with m.State("PLAY"), m.If(self.tick):
                with m.If(left != 0):
                    m.d.comb += forth.r_en.eq(1)
                    m.d.sync += [
                        wires.data.eq(forth.r_data),
                        wires.valid.eq(1),
                        wires.error.eq(damaged & (left == 1)),
                        left.eq(left - 1),
                    ]
                with m.Else():
                    m.d.sync += gap.eq(GAP - 1)
                    m.next = "LOW"

    def _back(self, m: Module) -> None:
        m.submodules.back = back = SyncFIFOBuffered(width=8, depth=HELD)
        m.submodules.lengths = lengths = SyncFIFOBuffered(width=16, depth=HELD // 64)
        wires, count, place = self.from_board, Signal(16), Signal(16)
        m.d.comb += [
            back.w_data.eq(wires.data),
            back.w_en.eq(self.tick & wires.valid),
            lengths.w_data.eq(count),
            lengths.w_en.eq(self.tick & ~wires.valid & (count != 0)),
        ]
        with m.If(self.tick):
            m.d.sync += count.eq(Mux(wires.valid, count + 1, 0))
        # Two bytes of length, then the frame's.
        head = place < 2
        moves, last = self.tx.valid & self.tx.ready, place == lengths.r_data + 1
        m.d.comb += [
            self.tx.valid.eq(lengths.r_rdy & (head | back.r_rdy)),
            self.tx.payload.eq(Mux(head, lengths.r_data.word_select(place[0], 8), back.r_data)),
            back.r_en.eq(moves & ~head),
            lengths.r_en.eq(moves & last),
        ]
        with m.If(moves):
            m.d.sync += place.eq(Mux(last, 0, place + 1))
