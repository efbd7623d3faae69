"""The packets of a simulated USB host: what it sends at an order, and what comes back, on any line."""

from enum import IntEnum, IntFlag

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from haarlequin.sim.usb.packets import Pid


class Order(IntFlag):
    """The things to do once a packet is out."""

    LISTEN = 1
    """Take the packet that comes back."""
    ACKNOWLEDGE = 2
    """Answer ACK to it, if it has data and its checksum is right."""
    CHIRP = 4
    """In a reset, answer a device that asks for high speed. Only a line that can do it does."""


class Mark(IntEnum):
    """The byte before each byte of an answer, or after the last one."""

    BYTE = 0
    END = 1
    NOTHING = 2
    """Nothing came."""
    BROKEN = 3
    """The packet ended within a byte, or had seven equal levels in a row."""


AHEAD = 32
"""Bytes of a packet with which it begins."""

LINE = wiring.Signature(
    {
        "start": Out(1),
        "byte": Out(8),
        "valid": Out(1),
        "ready": In(1),
        "done": In(1),
        "reset": Out(1),
        "chirps": Out(1),
        "high": In(1),
        "active": In(1),
        "came": In(8),
        "strobe": In(1),
        "ended": In(1),
        "broken": In(1),
        "right": In(1),
        "gap": In(16),
        "patience": In(16),
    }
)
"""A line as a `Transactor` sees it.

``start`` begins a packet with the next cycle, whose bytes are ``byte`` while ``valid``, each taken with
``ready``; without one the packet ends. ``reset`` begins a reset of the bus, in which the host ``chirps`` for
high speed. ``done`` is the end of either; after a reset, ``high`` says whether the bus has high speed.

While a packet comes, ``active`` is high. ``strobe`` is a byte of it, which is in ``came`` from the next cycle
on, and comes two cycles after another at least. ``ended`` is its end: it is ``broken``, or it has data and
their checksum is ``right``.

``gap`` are the cycles between two packets, and ``patience`` those after which no answer comes any more.
"""


class Transactor(wiring.Component):
    """Sends packets at orders, and listens for those that come back.

    An order is a byte of `Order`, two with the number of bytes, the lowest first, and that many bytes of a
    packet. A packet goes out ``gap`` after the last one, once all of it is there, or `AHEAD` bytes, for the
    others come faster than any line takes them; one without bytes is a reset of the bus. With `Order.LISTEN`
    there is an answer: `Mark.BYTE` and a byte, again and again, then another `Mark`. A reset has one as well,
    a byte that says whether the bus has high speed.

    Members
    -------
    rx : In(stream.Signature(8))
        Orders.
    tx : Out(stream.Signature(8))
        Answers.
    line : Out(LINE)
        The line.
    """

    rx: In(stream.Signature(8))  # type: ignore[valid-type]  # Amaranth's ports are annotated by values
    tx: Out(stream.Signature(8))  # type: ignore[valid-type]
    line: Out(LINE)  # type: ignore[valid-type]

    def elaborate(self, platform):
        m = Module()
        line = self.line
        m.submodules.orders = orders = SyncFIFOBuffered(width=8, depth=1024)
        m.submodules.answers = answers = SyncFIFOBuffered(width=8, depth=2048)
        wiring.connect(m, wiring.flipped(self.rx), orders.w_stream)
        wiring.connect(m, answers.r_stream, wiring.flipped(self.tx))
        listen, acknowledge, left = Signal(), Signal(), Signal(16)
        wait, came = Signal(16), Signal()
        waited = wait == 0
        m.d.sync += wait.eq(Mux(waited, 0, wait - 1))

        def answer(mark, then):
            m.d.comb += [answers.w_en.eq(1), answers.w_data.eq(mark)]
            m.next = then

        with m.FSM():
            with m.State("ORDER"):
                m.d.comb += orders.r_en.eq(1)
                m.d.sync += Cat(listen, acknowledge, line.chirps).eq(orders.r_data)
                with m.If(orders.r_rdy):
                    m.next = "LENGTH"
            for part, after in (("LENGTH", "LENGTH_TOO"), ("LENGTH_TOO", "WAIT")):
                with m.State(part):
                    m.d.comb += orders.r_en.eq(1)
                    with m.If(orders.r_rdy):
                        m.d.sync += left.eq(Cat(left[8:], orders.r_data))
                        m.next = after
            with m.State("WAIT"), m.If(waited & ((orders.level >= left) | (orders.level >= AHEAD))):
                m.d.comb += [line.start.eq(left != 0), line.reset.eq(left == 0)]
                m.next = "SEND"
                with m.If(left == 0):
                    m.next = "RESET"
            with m.State("RESET"), m.If(line.done):
                answer(Mark.BYTE, "RESULT")
            with m.State("RESULT"):
                answer(line.high, "END")
            with m.State("END"):
                answer(Mark.END, "ORDER")
                m.d.sync += wait.eq(line.gap)
            with m.State("SEND"):
                m.d.comb += [
                    line.byte.eq(orders.r_data),
                    line.valid.eq(left != 0),
                    orders.r_en.eq(line.ready),
                ]
                with m.If(line.ready):
                    m.d.sync += left.eq(left - 1)
                with m.If(line.done):
                    m.d.sync += [wait.eq(Mux(listen, line.patience, line.gap)), came.eq(0)]
                    m.next = "ORDER"
                    with m.If(listen):
                        m.next = "LISTEN"
            with m.State("LISTEN"):
                with m.If(line.active):
                    m.d.sync += came.eq(1)
                with m.If(line.strobe):
                    answer(Mark.BYTE, "BYTE")
                with m.Elif(line.ended):
                    answer(Mux(line.broken, Mark.BROKEN, Mark.END), "ORDER")
                    m.d.sync += wait.eq(line.gap)
                    with m.If(acknowledge & line.right & ~line.broken):
                        m.next = "ACKNOWLEDGE"
                with m.Elif(waited & ~came):
                    m.next = "NOTHING"
            with m.State("BYTE"):
                answer(line.came, "LISTEN")
            with m.State("NOTHING"):
                answer(Mark.NOTHING, "ORDER")
                m.d.sync += wait.eq(line.gap)
            with m.State("ACKNOWLEDGE"), m.If(waited):
                m.d.comb += line.start.eq(1)
                m.d.sync += left.eq(1)
                m.next = "ACKNOWLEDGED"
            with m.State("ACKNOWLEDGED"):
                m.d.comb += [line.byte.eq(Pid.ACK.byte), line.valid.eq(left != 0)]
                with m.If(line.ready):
                    m.d.sync += left.eq(0)
                with m.If(line.done):
                    m.d.sync += wait.eq(line.gap)
                    m.next = "ORDER"
        return m
