"""Datagrams from the host: their bytes, each once and in order, whatever came first or twice."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.link.ethernet.datagrams import MOST, NUMBERS, SLOTS, TO_BOARD

SLOT_BITS, PLACE_BITS = ceil_log2(SLOTS), ceil_log2(MOST)
NUMBER = ceil_log2(NUMBERS)


class Inbox(wiring.Component):
    """Keeps datagrams in slots until those before them have come, and passes their bytes on.

    Each number has a slot, its own modulo `SLOTS`. A datagram is taken once it has ended well, if it is one
    of the next `SLOTS` and has not been taken before; so those that are doubled, late or of another session
    are of no consequence, and one that was lost is waited for. Number 0 of another session begins that
    session, and what has not been passed on of the one before is forgotten. Bytes are written into a free
    slot before it is known whether they are a datagram.

    Members
    -------
    begin : In(1)
        No byte of a packet has come yet.
    body : In(8)
        A byte of a packet.
    strobe : In(1)
        There is a byte. The first ones are the header, `TO_BOARD`.
    datagram : In(1)
        High for a cycle: that was a datagram. Its last byte came at least four cycles before.
    received : Out(stream.Signature(8))
        The bytes of the link.
    active : Out(1)
        There is a session.
    session : Out(16)
        Its number.
    following : Out(16)
        The number of the datagram whose bytes are passed on now or next.
    heard : Out(1)
        High in the same cycle as ``datagram``: it is one of the session, from whoever sent it.
    tell : Out(1)
        High for a cycle: the host should be told ``following``, which is new, or seems to be to the host.
    """

    begin: In(1)
    body: In(8)
    strobe: In(1)
    datagram: In(1)
    received: Out(stream.Signature(8))
    active: Out(1)
    session: Out(NUMBER)
    following: Out(NUMBER)
    heard: Out(1)
    tell: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.slots = slots = Memory(shape=8, depth=SLOTS * MOST, init=[])
        occupied, begins = Signal(SLOTS), Signal()
        lengths = Array(Signal(range(MOST + 1), name=f"length_{slot}") for slot in range(SLOTS))

        # The header, and what to do with the packet if it is a datagram.
        seen, header = Signal(range(TO_BOARD.size + 1)), Signal(8 * TO_BOARD.size)
        number, session = header[:NUMBER], header[NUMBER:]
        slot, judged = number[:SLOT_BITS], Signal()
        after_header = seen == TO_BOARD.size
        with m.If(self.begin):
            m.d.sync += seen.eq(0)
        with m.Elif(self.strobe & ~after_header):
            m.d.sync += [seen.eq(seen + 1), header.eq(Cat(self.body, header))]
        same, first, near, free = Signal(), Signal(), Signal(), Signal()
        ahead = Signal(NUMBER)
        m.d.comb += ahead.eq(number - self.following)
        m.d.sync += [
            judged.eq(after_header),
            same.eq(self.active & (session == self.session)),
            first.eq(number == 0),
        ]
        # A slot that becomes free while its bytes come would have lost the first ones.
        with m.If(~judged):
            m.d.sync += [near.eq(ahead < SLOTS), free.eq(~occupied.bit_select(slot, 1))]

        place, too_long = self._write(m, slots, slot, free, self.strobe & after_header)
        taken = Signal(SLOTS)
        with m.If(self.datagram & judged & ~too_long):
            with m.If(same):
                m.d.comb += self.heard.eq(1)
                with m.If(near & free):
                    m.d.comb += taken.bit_select(slot, 1).eq(1)
            with m.Elif(first):
                m.d.comb += [self.heard.eq(1), begins.eq(1), taken[0].eq(free)]
                m.d.sync += [self.active.eq(1), self.session.eq(session)]
            with m.If(taken.any()):
                m.d.sync += lengths[slot].eq(place)
        passed = self._pass_on(m, slots, occupied, lengths, begins)
        m.d.sync += [
            occupied.eq(Mux(begins, 0, occupied & ~(passed << self.following[:SLOT_BITS])) | taken),
            self.tell.eq(passed | (self.heard & ~taken.any())),
        ]
        with m.If(begins):
            m.d.sync += self.following.eq(0)
        with m.Elif(passed):
            m.d.sync += self.following.eq(self.following + 1)
        return m

    def _write(self, m: Module, slots: Memory, slot: Signal, free: Signal, strobe: Signal):
        """Write the bytes after a header, two cycles late. Returns how many, and whether there were more."""
        write = slots.write_port()
        later, byte = (Signal(8) for _ in range(2))
        later_strobe, byte_strobe = Signal(), Signal()
        m.d.sync += [later.eq(self.body), later_strobe.eq(strobe), byte.eq(later)]
        m.d.sync += byte_strobe.eq(later_strobe)
        place, too_long = Signal(range(MOST + 1)), Signal()
        m.d.comb += [
            write.addr.eq(Cat(place[:PLACE_BITS], slot)),
            write.data.eq(byte),
            write.en.eq(byte_strobe & free & (place != MOST)),
        ]
        with m.If(self.begin):
            m.d.sync += [place.eq(0), too_long.eq(0)]
        with m.Elif(byte_strobe):
            with m.If(place == MOST):
                m.d.sync += too_long.eq(1)
            with m.Else():
                m.d.sync += place.eq(place + 1)
        return place, too_long

    def _pass_on(self, m: Module, slots: Memory, occupied: Signal, lengths: Array, begins: Signal) -> Signal:
        """Read the slot of the next datagram. Returns a signal that is high once, after its last byte."""
        read, received, passed = slots.read_port(), self.received, Signal()
        at, left, move = Signal(PLACE_BITS), Signal(range(MOST + 1)), Signal()
        slot = self.following[:SLOT_BITS]
        m.d.comb += [
            move.eq(~received.valid | received.ready),
            read.addr.eq(Cat(at, slot)),
            read.en.eq(move),
            received.payload.eq(read.data),
        ]
        with m.If(move):
            m.d.sync += received.valid.eq(0)
        with m.FSM():
            with m.State("WAIT"):
                m.d.sync += [at.eq(0), left.eq(lengths[slot])]
                with m.If(occupied.bit_select(slot, 1) & ~begins):
                    m.next = "READ"
            with m.State("READ"):
                with m.If(left == 0):
                    m.d.comb += passed.eq(~begins)
                    m.next = "WAIT"
                with m.Elif(begins):
                    m.next = "WAIT"
                with m.Elif(move):
                    m.d.sync += [received.valid.eq(1), at.eq(at + 1), left.eq(left - 1)]
        return passed
