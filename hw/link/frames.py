"""Frames of the host protocol on a stream of bytes: a receiver, a sender, and a maker of words from bytes.

`hw/link/protocol.py` has the layout of the frames, docs/protocol.md the protocol.
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc import catalog
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.link.protocol import (
    ADDRESS_BITS,
    CRC_BYTES,
    HEADER_BYTES,
    LENGTH_BITS,
    PAYLOAD,
    SYNC,
    Memory,
)

CRC = catalog.CRC16_IBM_3740(8)
"""The CRC of `hw.link.protocol.crc`, for one byte per cycle."""

HEADER = data.StructLayout(
    {"type": 8, "sequence": 8, "detail": 8, "address": ADDRESS_BITS, "length": LENGTH_BITS}
)
"""A header as it travels, after the sync byte."""

ANSWER = data.StructLayout({"type": 8, "sequence": 8, "detail": 8, "length": LENGTH_BITS})
"""The header of an answer. Its address is left out here, and is sent as 0."""

PAYLOAD_BIT = ceil_log2(PAYLOAD)
"""The bit of a frame's type that says that it has a payload."""


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


class Words(wiring.Component):
    """Counts the bytes of a run of words, and finds where each word belongs.

    The bytes of a word come lowest first. A run is a series of words from any address of a memory on.

    Parameters
    ----------
    memories : Sequence[Memory]
        The memories, by number.

    Members
    -------
    begin : In(1)
        Begins a run at word ``first`` of ``memory``.
    memory : In(range(len(memories)))
        The number of the memory, valid with ``begin``.
    first : In(ADDRESS_BITS)
        The address of the first word, valid with ``begin``.
    take : In(1)
        The next byte of the run comes.
    skip : In(1)
        Passes over the next byte of the run without taking it.
    select : Out(range(len(memories)))
        The memory of the run.
    address : Out
        The address of the present word. It has only the bits that the deepest memory needs, so it may
        be wrong after a word outside of the memory.
    write : Out(1)
        High in the cycle after the last byte of a word was taken, if the word lies within the memory.
    position : Out
        The place of the next byte within its word.
    inside : Out(1)
        The present word lies within the memory.
    outside : Out(1)
        A word of the run lay outside of the memory. The signal rises after the last byte of that word at the
        latest, and stays high until the next run.
    """

    def __init__(self, memories: Sequence[Memory]):
        self.memories = memories
        self.word_bytes = max(memory.word_bytes for memory in memories)
        super().__init__(
            {
                "begin": In(1),
                "memory": In(range(len(memories))),
                "first": In(ADDRESS_BITS),
                "take": In(1),
                "skip": In(1),
                "select": Out(range(len(memories))),
                "address": Out(range(max(memory.depth for memory in memories) + 1)),
                "write": Out(1),
                "position": Out(range(self.word_bytes)),
                "inside": Out(1),
                "outside": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        tables = (
            [memory.word_bytes - 1 for memory in self.memories],
            [memory.depth for memory in self.memories],
        )
        # Both wait in registers: whether a run is inside is asked at once.
        looked_up = [table(m, self.memory, values) for values in tables]
        last_byte, depth = (Signal.like(value) for value in looked_up)
        last, complete = Signal(), Signal()
        m.d.comb += [
            last.eq(self.position == last_byte),
            # After a word that was outside, all others are outside too. So the address may wrap around.
            self.inside.eq(~self.outside & (self.address < depth)),
            self.write.eq(complete & self.inside),
        ]
        m.d.sync += complete.eq(self.take & last)
        with m.If(self.take | self.skip):
            m.d.sync += self.position.eq(Mux(last, 0, self.position + 1))
        with m.If(complete | (self.skip & last)):
            m.d.sync += [self.address.eq(self.address + 1), self.outside.eq(self.outside | ~self.inside)]
        with m.If(self.begin):
            m.d.sync += [self.select.eq(self.memory), self.address.eq(self.first)]
            m.d.sync += [last_byte.eq(looked_up[0]), depth.eq(looked_up[1])]
            m.d.sync += [self.position.eq(0), self.outside.eq(self.first[len(self.address) :].any())]
        return m


def table(m: Module, index: Value, values: Sequence[int]) -> Signal:
    """A signal with the element of ``values`` at ``index``, or 0 if there is none: a lookup table."""
    value = Signal(range(max(values) + 1))
    with m.Switch(index):
        for i, constant in enumerate(values):
            with m.Case(i):
                m.d.comb += value.eq(constant)
    return value
