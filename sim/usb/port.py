"""A port of a USB host: it sends packets of full speed on two wires, and receives those that come back."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.sim.usb.line_code import Receiver, Sender
from haarlequin.sim.usb.transactor import Transactor

RESET_BITS = 360
"""Bits of a reset of the bus. LUNA's device takes 25 µs for one; a host gives 10 ms (USB 2.0, 7.1.7.5)."""
PATIENCE = 16
"""Bits after which nothing comes any more: hosts wait for 16 to 18 (USB 2.0, section 7.1.19), the first of
which has passed already, and the receiver takes one. LUNA's device takes 14."""
GAP = 3
"""Bits between two packets (section 7.1.18)."""


class HostPort(wiring.Component):
    """A port of a USB host, with the resistors that pull its wires down. It is a `Transactor` on two wires.

    Parameters
    ----------
    bit : int
        Cycles of a bit: of 8, a clock of 96 MHz.

    Members
    -------
    rx : In(stream.Signature(8))
        Orders.
    tx : Out(stream.Signature(8))
        Answers.
    d_p, d_n : Out(1)
        What the port drives onto the wires while ``driving`` is high.
    driving : Out(1)
    d_p_in, d_n_in : In(1)
        The wires.
    """

    rx: In(stream.Signature(8))  # type: ignore[valid-type]
    tx: Out(stream.Signature(8))  # type: ignore[valid-type]
    d_p: Out(1)  # type: ignore[valid-type]
    d_n: Out(1)  # type: ignore[valid-type]
    driving: Out(1)  # type: ignore[valid-type]
    d_p_in: In(1)  # type: ignore[valid-type]
    d_n_in: In(1)  # type: ignore[valid-type]

    def __init__(self, bit: int):
        self._bit = bit
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.transactor = transactor = Transactor()
        m.submodules.sender = sender = Sender(self._bit)
        m.submodules.receiver = receiver = Receiver(self._bit)
        wiring.connect(m, wiring.flipped(self.rx), transactor.rx)
        wiring.connect(m, transactor.tx, wiring.flipped(self.tx))
        line, resetting = transactor.line, Signal(range(self._bit * RESET_BITS + 1))
        m.d.sync += resetting.eq(
            Mux(line.reset, self._bit * RESET_BITS, Mux(resetting == 0, 0, resetting - 1))
        )
        m.d.comb += [
            self.d_p.eq(sender.d_p & (resetting == 0)),
            self.d_n.eq(sender.d_n & (resetting == 0)),
            self.driving.eq(sender.driving | (resetting != 0)),
            receiver.d_p.eq(self.d_p_in & ~sender.driving),
            receiver.d_n.eq(self.d_n_in & ~sender.driving),
            sender.start.eq(line.start),
            sender.byte.eq(line.byte),
            sender.valid.eq(line.valid),
            line.ready.eq(sender.ready),
            line.done.eq(sender.done | (resetting == 1)),
            line.active.eq(receiver.active),
            line.came.eq(receiver.byte),
            line.strobe.eq(receiver.strobe),
            line.ended.eq(receiver.ended),
            line.broken.eq(receiver.broken),
            line.right.eq(receiver.right),
            line.gap.eq(self._bit * GAP),
            line.patience.eq(self._bit * PATIENCE),
        ]
        return m
