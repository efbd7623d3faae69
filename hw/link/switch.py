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
    received_0, received_1, … : In(stream.Signature(8))
        Bytes from each line.
    to_send_0, to_send_1, … : Out(stream.Signature(8))
        Bytes for each line. A byte that has not been taken is taken back where another line comes into use.
    rx : Out(stream.Signature(8))
        Bytes for the accelerator, a cycle late after a change of lines.
    tx : In(stream.Signature(8))
        Bytes from the accelerator.
    """

    def __init__(self, lines: int):
        self._lines = range(lines)
        received = {f"received_{number}": In(BYTES) for number in self._lines}
        to_send = {f"to_send_{number}": Out(BYTES) for number in self._lines}
        super().__init__({**received, **to_send, "rx": Out(BYTES), "tx": In(BYTES)})

    def elaborate(self, platform):
        m = Module()
        used = Signal(range(len(self._lines)))
        received = [getattr(self, f"received_{number}") for number in self._lines]
        to_send = [getattr(self, f"to_send_{number}") for number in self._lines]
        here, there = Array(received)[used], Array(to_send)[used]
        m.d.comb += [
            self.rx.valid.eq(here.valid),
            self.rx.payload.eq(here.payload),
            here.ready.eq(self.rx.ready),
            there.valid.eq(self.tx.valid),
            self.tx.ready.eq(there.ready),
        ]
        for line in to_send:
            m.d.comb += line.payload.eq(self.tx.payload)
        with m.If(~here.valid):
            for number, line in enumerate(received):
                with m.If(line.valid):
                    m.d.sync += used.eq(number)
        return m
