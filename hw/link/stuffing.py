"""Byte stuffing: a line whose bytes never stop coming says which of them are an answer."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

FLAG = 0x7E
"""The byte of a line on which nothing is said. It is no part of what is said."""
ESCAPE = 0x7D
"""The byte before one that would look like `FLAG` or `ESCAPE`, and has `FLIPPED` turned over."""
FLIPPED = 0x20


def stuffed(data: bytes) -> bytes:
    """``data`` as `Stuffing` sends it (RFC 1662, section 4.2)."""
    for special in (ESCAPE, FLAG):
        data = data.replace(bytes([special]), bytes([ESCAPE, special ^ FLIPPED]))
    return data


class Unstuffing:
    """Takes the bytes of a line as they come, and gives back what was said on it.

    Bytes that no `Stuffing` sends come through as well: what they are is for the frames' CRC to say.
    """

    def __init__(self) -> None:
        self._left = b""

    def feed(self, line: bytes) -> bytes:
        """What is said in the next bytes of the line."""
        data = self._left + line.replace(bytes([FLAG]), b"")
        # What a last `ESCAPE` is about comes with the next bytes.
        data, self._left = (data[:-1], data[-1:]) if data.endswith(bytes([ESCAPE])) else (data, b"")
        for special in (FLAG, ESCAPE):
            data = data.replace(bytes([ESCAPE, special ^ FLIPPED]), bytes([special]))
        return data


class Stuffing(wiring.Component):
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
