"""A switch between the lines of a board: the accelerator answers on the line on which it is spoken to."""

from amaranth.hdl import Array, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

BYTES = stream.Signature(8)


class LineSwitch(wiring.Component):
    """Lets one of several lines reach an accelerator, so that a host may be plugged into any of them.

    A line is in use from its first byte until another line has a byte while it has none. Two hosts that
    speak at the same time disturb each other's frames as they would on one line, and find out by the CRC.

    Parameters
    ----------
    lines : int
        The number of lines, at least 2.

    Members
    -------
    received : In(stream.Signature(8)).array(lines)
        Bytes from each line.
    to_send : Out(stream.Signature(8)).array(lines)
        Bytes for each line. A byte that has not been taken is taken back where another line comes into use.
    rx : Out(stream.Signature(8))
        Bytes for the accelerator, two cycles late after a change of lines.
    tx : In(stream.Signature(8))
        Bytes from the accelerator.
    """

    def __init__(self, lines: int):
        self._lines = lines
        super().__init__(
            {
                "received": In(BYTES).array(lines),
                "to_send": Out(BYTES).array(lines),
                "rx": Out(BYTES),
                "tx": In(BYTES),
            }
        )

    def elaborate(self, platform):
        m = Module()
        used = Signal(range(self._lines))
        here, there = Array(self.received)[used], Array(self.to_send)[used]
        m.d.comb += [
            self.rx.valid.eq(here.valid),
            self.rx.payload.eq(here.payload),
            here.ready.eq(self.rx.ready),
            there.valid.eq(self.tx.valid),
            self.tx.ready.eq(there.ready),
        ]
        for line in self.to_send:
            m.d.comb += line.payload.eq(self.tx.payload)
        with m.If(~here.valid):
            for number, line in enumerate(self.received):
                with m.If(line.valid):
                    m.d.sync += used.eq(number)
        return m
