"""A stuffer: makes a stream of bytes one for a line whose bytes never stop coming."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.link.stuffing import ESCAPE, FLAG, FLIPPED


class Stuffer(wiring.Component):
    """Sends each `FLAG` and `ESCAPE` of a stream as two bytes, so that a `FLAG` can stand for silence.

    All other bytes pass in the cycle in which they come.

    Members
    -------
    said : In(stream.Signature(8))
        Bytes.
    line : Out(stream.Signature(8))
        The bytes of the line, which are at most twice as many and never `FLAG`.
    """

    said: In(stream.Signature(8))
    line: Out(stream.Signature(8))

    def elaborate(self, platform):
        m = Module()
        said, line = self.said, self.line
        escaped, special = Signal(), Signal()
        m.d.comb += [
            special.eq((said.payload == FLAG) | (said.payload == ESCAPE)),
            line.valid.eq(said.valid),
            line.payload.eq(said.payload),
            said.ready.eq(line.ready),
        ]
        with m.If(special):
            m.d.comb += [
                line.payload.eq(Mux(escaped, said.payload ^ FLIPPED, ESCAPE)),
                said.ready.eq(line.ready & escaped),
            ]
            with m.If(line.valid & line.ready):
                m.d.sync += escaped.eq(~escaped)
        with m.If(~said.valid):  # a `LineSwitch` may have taken the byte back
            m.d.sync += escaped.eq(0)
        return m
