"""The receiver of frames: finds them in a stream of bytes."""

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.link.frames import CRC, HEADER, PAYLOAD_BIT
from haarlequin.hw.link.protocol import CRC_BYTES, HEADER_BYTES, SYNC


class FrameReceiver(wiring.Component):
    """Finds the frames in a stream of bytes.

    It takes one byte per cycle, but none while ``begun`` or ``ended`` is high. A header that is not intact is
    dropped without notice, and the search for a frame goes on after it. For a frame without payload ``ended``
    never rises. If no byte comes for ``timeout`` cycles in a row within a frame, the frame is cut off: within
    its header it is dropped, and within its payload or the CRC after that, the payload ends with ``cut``.

    Parameters
    ----------
    timeout : int
        Cycles, at least 2.

    Members
    -------
    rx : In(stream.Signature(8))
        The bytes.
    header : Out(HEADER)
        The header of the frame. It is valid from ``begun`` until the last ``proceed`` of the frame. In that
        time only its length changes: it counts down the bytes of the payload.
    begun : Out(1)
        A header is intact. It stays high until ``proceed``.
    payload : Out(stream.Signature(8, always_ready=True))
        The bytes of the payload as they come, whether they are intact or not.
    ended : Out(1)
        A payload has ended. It stays high until ``proceed``.
    intact : Out(1)
        The payload is complete and its CRC is right; valid while ``ended`` is high.
    cut : Out(1)
        The payload was cut off; valid while ``ended`` is high. If neither ``intact`` nor ``cut`` is high, the
        CRC is wrong.
    proceed : In(1)
        The receiver goes on after ``begun`` or ``ended``.
    """

    rx: In(stream.Signature(8))
    header: Out(HEADER)
    begun: Out(1)
    payload: Out(stream.Signature(8, always_ready=True))
    ended: Out(1)
    intact: Out(1)
    cut: Out(1)
    proceed: In(1)

    def __init__(self, timeout: int):
        if not (type(timeout) is int and timeout >= 2):
            raise ValueError(f"FrameReceiver timeout must be an integer of at least 2, not {timeout!r}")
        self.timeout = timeout
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        restart, crc = Signal(), CRC.create()
        # The CRC begins again by a reset. Amaranth's CRC has an input ``start`` for that, but it works in the
        # same cycle as a byte, too, which doubles the LUTs.
        m.submodules.crc = ResetInserter(restart)(crc)
        rx, header = self.rx, self.header
        count = Signal(range(HEADER_BYTES - 1 + CRC_BYTES))
        silence, late, taken = Signal(range(self.timeout)), Signal(), Signal()
        m.d.sync += silence.eq(Mux(rx.ready & ~rx.valid, silence + 1, 0))
        m.d.comb += [
            late.eq(~rx.valid & (silence == self.timeout - 1)),
            taken.eq(rx.valid & rx.ready),
            rx.ready.eq(1),
            crc.data.eq(rx.payload),
            crc.valid.eq(taken),
            self.payload.payload.eq(rx.payload),
            self.intact.eq(crc.match_detected & ~self.cut),
        ]

        with m.FSM():
            with m.State("SEARCH"):
                m.d.comb += restart.eq(1)
                m.d.sync += [count.eq(0), self.cut.eq(0)]
                with m.If(taken & (rx.payload == SYNC)):
                    m.next = "HEADER"
            with m.State("HEADER"):
                with m.If(taken):
                    m.d.sync += count.eq(count + 1)
                    with m.If(count < HEADER_BYTES - 1):
                        m.d.sync += header.eq(Cat(header.as_value()[8:], rx.payload))
                    with m.If(count == HEADER_BYTES - 1 + CRC_BYTES - 1):
                        m.next = "CHECK"
                with m.Elif(late):
                    m.next = "SEARCH"
            with m.State("CHECK"):
                m.d.comb += [self.begun.eq(crc.match_detected), rx.ready.eq(0), restart.eq(self.proceed)]
                m.d.sync += count.eq(0)
                with m.If(~crc.match_detected):
                    m.next = "SEARCH"
                with m.Elif(self.proceed):
                    with m.If(~header.type[PAYLOAD_BIT]):
                        m.next = "SEARCH"
                    with m.Elif(header.length == 0):
                        m.next = "TRAILER"
                    with m.Else():
                        m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                m.d.comb += self.payload.valid.eq(taken)
                with m.If(taken):
                    m.d.sync += header.length.eq(header.length - 1)
                    with m.If(header.length == 1):
                        m.next = "TRAILER"
                with m.Elif(late):
                    m.d.sync += self.cut.eq(1)
                    m.next = "END"
            with m.State("TRAILER"):
                with m.If(taken):
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == CRC_BYTES - 1):
                        m.next = "END"
                with m.Elif(late):
                    m.d.sync += self.cut.eq(1)
                    m.next = "END"
            with m.State("END"):
                m.d.comb += [self.ended.eq(1), rx.ready.eq(0)]
                with m.If(self.proceed):
                    m.next = "SEARCH"
        return m
