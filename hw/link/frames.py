"""Frames of the host protocol on a stream of bytes: what finds them, what makes them, and words of payload.

`hw/link/protocol.py` has the layout, docs/protocol.md the protocol.
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
"""A byte a cycle; `hw.link.protocol.crc`."""

HEADER = data.StructLayout(
    {"type": 8, "sequence": 8, "detail": 8, "address": ADDRESS_BITS, "length": LENGTH_BITS}
)
"""A header as it travels, behind the sync byte."""

ANSWER = data.StructLayout({"type": 8, "sequence": 8, "detail": 8, "length": LENGTH_BITS})
"""Of an answer's header, all but the address, which is 0."""

PAYLOAD_BIT = ceil_log2(PAYLOAD)


class FrameReceiver(wiring.Component):
    """Finds the frames among the bytes of ``rx``, which it takes one a cycle while neither ``begun`` nor
    ``ended``.

    ``begun`` stands from an intact ``header`` until ``proceed``, ``ended`` from the end of a payload until
    ``proceed``. In between ``payload`` passes on its bytes as they come, good or not; at the end it is
    ``intact``, or it was ``cut`` off, or else its CRC is wrong. Frames without payload only begin. From
    ``begun`` to the last ``proceed`` ``header`` stays as it is, but its length counts down the payload.

    A header that is not intact is dropped without a word, and the search goes on behind it. ``timeout``
    cycles in a row of waiting for a byte inside of a frame cut it off.
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
        # The processor's own start, which may come together with a byte, takes twice its LUTs.
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
    """Makes a frame of ``frame``, and where its type has one, of ``length`` ≥ 1 bytes of ``payload``.

    ``frame`` is looked at in the cycle that takes it only, and may change before. ``sending`` is the type of
    the frame that was taken last, ``left`` counts down its payload: 1 at the last byte. A CRC is sent
    inverted while ``spoil`` is high, so that the host drops the frame. A byte a cycle.
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
                m.d.sync += [current.eq(self.frame.p), count.eq(0), trailer.eq(0)]
                with m.If(self.frame.valid):
                    m.next = "HEADER"
            with m.State("HEADER"):
                address = Const(0, ADDRESS_BITS)
                header = Cat(Const(SYNC, 8), current.type, current.sequence, current.detail, address)
                m.d.comb += [byte.eq(Cat(header, current.length).word_select(count, 8)), valid.eq(1)]
                m.d.comb += crc.valid.eq(put & (count != 0))
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
    """Bytes to words: where each byte of a run of words belongs, lowest first.

    ``begin`` starts a run, at word ``first`` of ``memory``. With ``take``, ``byte`` is the next one; behind a
    word's last there is a cycle of ``write``, unless the word lies beyond the memory: ``outside`` then says
    so until the next run. ``skip`` passes over a byte instead. ``position`` is the next byte's within its
    word, ``inside`` says whether that word is one of the memory's. ``address`` is that word's, but has no
    more bits than the deepest memory needs: it means nothing behind a word that was ``outside``.
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
                "byte": In(8),
                "skip": In(1),
                "select": Out(range(len(memories))),
                "address": Out(range(max(memory.depth for memory in memories) + 1)),
                "data": Out(max(memory.width for memory in memories)),
                "write": Out(1),
                "position": Out(range(self.word_bytes)),
                "inside": Out(1),
                "outside": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        last_byte = table(m, self.select, [memory.word_bytes - 1 for memory in self.memories])
        depth = table(m, self.select, [memory.depth for memory in self.memories])
        last, complete = Signal(), Signal()
        m.d.comb += [
            last.eq(self.position == last_byte),
            # Behind the end it is outside for good, so that the address may wrap around.
            self.inside.eq(~self.outside & (self.address < depth)),
            self.write.eq(complete & self.inside),
        ]
        m.d.sync += complete.eq(self.take & last)
        with m.If(self.take):
            for k in range(self.word_bytes):
                with m.If(self.position == k):
                    m.d.sync += self.data[8 * k : 8 * k + 8].eq(self.byte)
        with m.If(self.take | self.skip):
            m.d.sync += self.position.eq(Mux(last, 0, self.position + 1))
        with m.If(complete | (self.skip & last)):
            m.d.sync += [self.address.eq(self.address + 1), self.outside.eq(self.outside | ~self.inside)]
        with m.If(self.begin):
            m.d.sync += [self.select.eq(self.memory), self.address.eq(self.first)]
            m.d.sync += [self.position.eq(0), self.outside.eq(self.first[len(self.address) :].any())]
        return m


def table(m: Module, index: Value, values: Sequence[int]) -> Signal:
    """The value at an index, 0 behind the last."""
    value = Signal(range(max(values) + 1))
    with m.Switch(index):
        for i, constant in enumerate(values):
            with m.Case(i):
                m.d.comb += value.eq(constant)
    return value
