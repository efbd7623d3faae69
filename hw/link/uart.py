"""A UART: it receives bytes from one serial pin and sends bytes on another."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

DATA_BITS = 8


class Uart(wiring.Component):
    """A UART with 8N1: a low start bit, eight data bits with the lowest first, and a high stop bit.

    A byte takes 10 · ``divisor`` cycles to send, and the next one follows without a gap if it is there.

    The receiver samples each bit in its middle. The sender's clock may be 2 % slower or faster. A start bit
    that is high again in its middle is ignored, and a byte whose stop bit is low is dropped. Neither disturbs
    later bytes once the line has been high again. The sender on the other side cannot be told to wait: a byte
    that is complete before the byte before it has been taken is lost.

    Parameters
    ----------
    divisor : int
        Clock cycles per bit, at least 4.

    Members
    -------
    rx : In(1)
        The pin on which bytes arrive. It rests high, and may change at any time.
    tx : Out(1)
        The pin on which bytes are sent. It rests high.
    received : Out(stream.Signature(8))
        Bytes that have arrived, each half a bit before its end.
    to_send : In(stream.Signature(8))
        Bytes to send.
    overrun : Out(1)
        High for one cycle after a byte was lost.
    """

    rx: In(1, init=1)
    tx: Out(1, init=1)
    received: Out(stream.Signature(DATA_BITS))
    to_send: In(stream.Signature(DATA_BITS))
    overrun: Out(1)

    def __init__(self, divisor: int):
        if not (type(divisor) is int and divisor >= 4):
            raise ValueError(f"Uart divisor must be an integer of at least 4, not {divisor!r}")
        self.divisor = divisor
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        self._send(m)
        self._receive(m)
        return m

    def _send(self, m: Module) -> None:
        # The bits of the frame that come after the one on the pin. Ones follow, so that the pin rests high.
        frame, left = Signal(DATA_BITS + 1, init=-1), Signal(range(DATA_BITS + 3))
        timer, free = Signal(range(self.divisor)), Signal()
        m.d.comb += [
            free.eq((left == 0) | ((left == 1) & (timer == 0))),
            self.to_send.ready.eq(free),
        ]
        with m.If(free & self.to_send.valid):
            m.d.sync += [self.tx.eq(0), frame.eq(Cat(self.to_send.payload, Const(1, 1)))]
            m.d.sync += [left.eq(DATA_BITS + 2), timer.eq(self.divisor - 1)]
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(left != 0):
            m.d.sync += [self.tx.eq(frame[0]), frame.eq(Cat(frame[1:], Const(1, 1)))]
            m.d.sync += [left.eq(left - 1), timer.eq(self.divisor - 1)]

    def _receive(self, m: Module) -> None:
        rx, received = Signal(init=1), self.received
        m.submodules.synchroniser = FFSynchronizer(self.rx, rx, init=1)
        timer, bits, left = Signal(range(self.divisor)), Signal(DATA_BITS), Signal(range(DATA_BITS))
        with m.If(received.ready):
            m.d.sync += received.valid.eq(0)
        m.d.sync += [timer.eq(timer - 1), self.overrun.eq(0)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += timer.eq(self.divisor // 2 - 1)
                with m.If(~rx):
                    m.next = "START"
            with m.State("START"), m.If(timer == 0):
                m.d.sync += [timer.eq(self.divisor - 1), left.eq(DATA_BITS - 1)]
                with m.If(rx):
                    m.next = "IDLE"
                with m.Else():
                    m.next = "DATA"
            with m.State("DATA"), m.If(timer == 0):
                m.d.sync += [timer.eq(self.divisor - 1), left.eq(left - 1), bits.eq(Cat(bits[1:], rx))]
                with m.If(left == 0):
                    m.next = "STOP"
            with m.State("STOP"), m.If(timer == 0):
                with m.If(~rx):
                    m.next = "BREAK"
                with m.Else():
                    m.next = "IDLE"
                    with m.If(received.valid & ~received.ready):
                        m.d.sync += self.overrun.eq(1)
                    with m.Else():
                        m.d.sync += [received.valid.eq(1), received.payload.eq(bits)]
            with m.State("BREAK"), m.If(rx):
                m.next = "IDLE"
