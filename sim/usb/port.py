"""A port of a USB host: it sends packets of full speed on two wires, and receives those that come back."""

from enum import IntEnum, IntFlag

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from haarlequin.sim.usb.line_code import Receiver, Sender
from haarlequin.sim.usb.packets import Pid

RESET_BITS = 360
"""Bits of a reset of the bus. LUNA's device takes 25 µs for one; a host gives 10 ms (USB 2.0, 7.1.7.5)."""
PATIENCE = 16
"""Bits after which nothing comes any more: hosts wait for 16 to 18 (USB 2.0, section 7.1.19), the first of
which has passed already, and the receiver takes one. LUNA's device takes 14."""
GAP = 3
"""Bits between two packets (section 7.1.18)."""


class Order(IntFlag):
    """The things to do once a packet is out."""

    LISTEN = 1
    """Take the packet that comes back."""
    ACKNOWLEDGE = 2
    """Answer ACK to it, if it has data and its checksum is right."""


class Mark(IntEnum):
    """The byte before each byte of an answer, or after the last one."""

    BYTE = 0
    END = 1
    NOTHING = 2
    """Nothing came."""
    BROKEN = 3
    """The packet ended within a byte, or had seven equal levels in a row."""


class HostPort(wiring.Component):
    """A port of a USB host, with the resistors that pull its wires down.

    An order is a byte of `Order`, one with the number of bytes, and that many bytes of a packet. A packet
    goes out `GAP` after the last one, once all of it is there; one without bytes is a reset of the bus. With
    `Order.LISTEN`, and after a reset, there is an answer: `Mark.BYTE` and a byte, again and again, then
    another `Mark`.

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
        reset, patience, gap = (self._bit * bits for bits in (RESET_BITS, PATIENCE, GAP))
        m.submodules.orders = orders = SyncFIFOBuffered(width=8, depth=512)
        m.submodules.answers = answers = SyncFIFOBuffered(width=8, depth=512)
        wiring.connect(m, wiring.flipped(self.rx), orders.w_stream)
        wiring.connect(m, answers.r_stream, wiring.flipped(self.tx))
        m.submodules.sender = sender = Sender(self._bit)
        m.submodules.receiver = receiver = Receiver(self._bit)
        m.d.comb += [
            self.d_p.eq(sender.d_p),
            self.d_n.eq(sender.d_n),
            self.driving.eq(sender.driving),
            receiver.d_p.eq(self.d_p_in & ~sender.driving),
            receiver.d_n.eq(self.d_n_in & ~sender.driving),
        ]
        listen, acknowledge, left = Signal(), Signal(), Signal(8)
        wait, came = Signal(range(reset + 1)), Signal()
        waited = wait == 0
        m.d.sync += wait.eq(Mux(waited, 0, wait - 1))
        with m.FSM():
            with m.State("ORDER"):
                m.d.comb += orders.r_en.eq(1)
                m.d.sync += Cat(listen, acknowledge).eq(orders.r_data)
                with m.If(orders.r_rdy):
                    m.next = "LENGTH"
            with m.State("LENGTH"):
                m.d.comb += orders.r_en.eq(1)
                m.d.sync += left.eq(orders.r_data)
                with m.If(orders.r_rdy):
                    m.next = "WAIT"
            with m.State("WAIT"), m.If(waited & (orders.level >= left)):
                with m.If(left == 0):
                    m.d.sync += wait.eq(reset)
                    m.next = "RESET"
                with m.Else():
                    m.d.comb += sender.start.eq(1)
                    m.next = "SEND"
            with m.State("RESET"):
                m.d.comb += self.driving.eq(1)
                m.d.comb += [self.d_p.eq(0), self.d_n.eq(0)]
                with m.If(waited):
                    m.next = "NOTHING"
            with m.State("SEND"):
                m.d.comb += [
                    sender.byte.eq(orders.r_data),
                    sender.valid.eq(left != 0),
                    orders.r_en.eq(sender.ready),
                ]
                with m.If(sender.ready):
                    m.d.sync += left.eq(left - 1)
                with m.If(sender.done):
                    m.d.sync += [wait.eq(Mux(listen, patience, gap)), came.eq(0)]
                    m.next = "ORDER"
                    with m.If(listen):
                        m.next = "LISTEN"
            with m.State("LISTEN"):
                with m.If(receiver.active):
                    m.d.sync += came.eq(1)
                with m.If(receiver.strobe):
                    m.d.comb += [answers.w_en.eq(1), answers.w_data.eq(Mark.BYTE)]
                    m.next = "BYTE"
                with m.Elif(receiver.ended):
                    m.d.comb += [
                        answers.w_en.eq(1),
                        answers.w_data.eq(Mux(receiver.broken, Mark.BROKEN, Mark.END)),
                    ]
                    m.d.sync += wait.eq(gap)
                    m.next = "ORDER"
                    with m.If(acknowledge & receiver.right & ~receiver.broken):
                        m.next = "ACKNOWLEDGE"
                with m.Elif(waited & ~came):
                    m.next = "NOTHING"
            with m.State("BYTE"):
                m.d.comb += [answers.w_en.eq(1), answers.w_data.eq(receiver.byte)]
                m.next = "LISTEN"
            with m.State("NOTHING"):
                m.d.comb += [answers.w_en.eq(1), answers.w_data.eq(Mark.NOTHING)]
                m.d.sync += wait.eq(gap)
                m.next = "ORDER"
            with m.State("ACKNOWLEDGE"), m.If(waited):
                m.d.comb += sender.start.eq(1)
                m.d.sync += left.eq(1)
                m.next = "ACKNOWLEDGED"
            with m.State("ACKNOWLEDGED"):
                m.d.comb += [sender.byte.eq(Pid.ACK.byte), sender.valid.eq(left != 0)]
                with m.If(sender.ready):
                    m.d.sync += left.eq(0)
                with m.If(sender.done):
                    m.d.sync += wait.eq(gap)
                    m.next = "ORDER"
        return m
