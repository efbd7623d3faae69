"""The sender of frames: makes a stream of bytes of them."""

from amaranth.hdl import Cat, Const, Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.link.frames import ANSWER, CRC, PAYLOAD_BIT
from haarlequin.hw.link.protocol import ADDRESS_BITS, CRC_BYTES, HEADER_BYTES, LENGTH_BITS, SYNC


class FrameSender(wiring.Component):
    """Sends frames as a stream of bytes, one byte per cycle.

    Members
    -------
    frame : In(stream.Signature(ANSWER))
        The header of the next frame. It is read only in the cycle that takes it, and may change before that.
        If its type has a payload, its ``length`` must be at least 1.
    payload : In(stream.Signature(8))
        The bytes of the payload, ``length`` of them.
    spoil : In(1)
        While it is high, the bytes of a CRC are sent inverted, so that the host drops the frame.
    sending : Out(8)
        The type of the frame that was taken last.
    left : Out(LENGTH_BITS)
        The number of bytes of that frame's payload that are still to be taken: 1 at the last byte.
    tx : Out(stream.Signature(8))
        The bytes of the frames.
    """

    frame: In(stream.Signature(ANSWER))
    payload: In(stream.Signature(8))
    spoil: In(1)
    sending: Out(8)
    left: Out(LENGTH_BITS)
    tx: Out(stream.Signature(8))

    def elaborate(self, platform):
        m = Module()
        restart, crc = Signal(), CRC.create()
        m.submodules.crc = ResetInserter(restart)(crc)
        tx, current = self.tx, Signal(ANSWER)
        valid, byte, put = Signal(), Signal(8), Signal()
        count, trailer = Signal(range(HEADER_BYTES)), Signal()
        of_header = Signal(8)  # the byte number ``count`` of it: a register, as the CRC takes time
        m.d.comb += [
            self.sending.eq(current.type),
            self.left.eq(current.length),
            put.eq(valid & (~tx.valid | tx.ready)),
            crc.data.eq(byte),
        ]
        with m.If(put):
            m.d.sync += [tx.valid.eq(1), tx.payload.eq(byte), count.eq(count + 1)]
        with m.Elif(tx.ready):
            m.d.sync += tx.valid.eq(0)

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.frame.ready.eq(1), restart.eq(1)]
                m.d.sync += [current.eq(self.frame.p), count.eq(0), trailer.eq(0), of_header.eq(SYNC)]
                with m.If(self.frame.valid):
                    m.next = "HEADER"
            with m.State("HEADER"):
                address = Const(0, ADDRESS_BITS)
                header = Cat(Const(SYNC, 8), current.type, current.sequence, current.detail, address)
                m.d.comb += [byte.eq(of_header), valid.eq(1), crc.valid.eq(put & (count != 0))]
                with m.If(put):
                    m.d.sync += of_header.eq(Cat(header, current.length).word_select(count + 1, 8))
                with m.If(put & (count == HEADER_BYTES - 1)):
                    m.d.sync += count.eq(0)
                    m.next = "CRC"
            with m.State("CRC"):
                inverted = self.spoil.replicate(8)
                m.d.comb += [byte.eq(crc.crc.word_select(~count[0], 8) ^ inverted), valid.eq(1)]
                with m.If(put & (count == CRC_BYTES - 1)):
                    m.d.comb += restart.eq(1)
                    with m.If(current.type[PAYLOAD_BIT] & ~trailer):
                        m.next = "PAYLOAD"
                    with m.Else():
                        m.next = "IDLE"
            with m.State("PAYLOAD"):
                m.d.comb += [byte.eq(self.payload.p), valid.eq(self.payload.valid), crc.valid.eq(put)]
                m.d.comb += self.payload.ready.eq(~tx.valid | tx.ready)
                with m.If(put):
                    m.d.sync += current.length.eq(current.length - 1)
                    with m.If(self.left == 1):
                        m.d.sync += [count.eq(0), trailer.eq(1)]
                        m.next = "CRC"
        return m
