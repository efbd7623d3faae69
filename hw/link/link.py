"""The byte link: frames of the host in, words for the memories and images out, and answers back."""

from amaranth.hdl import Array, Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2

from haarlequin.hw.common.lookup import lookup
from haarlequin.hw.common.pipeline import registered, streamed
from haarlequin.hw.link.frames import PAYLOAD_BIT
from haarlequin.hw.link.identity import Identity, numbers
from haarlequin.hw.link.judgement import fault_of, refusal_of
from haarlequin.hw.link.ports import machine_ports
from haarlequin.hw.link.protocol import BENCHED, RESULT_BYTES, FrameType
from haarlequin.hw.link.receiver import FrameReceiver
from haarlequin.hw.link.repeat import Repeat
from haarlequin.hw.link.sender import FrameSender
from haarlequin.hw.link.words import Words

_FINE = 16
"""Elements of a table of which each bit takes a single lookup table."""


class Link(wiring.Component):
    """Speaks the protocol of docs/protocol.md on ``rx`` and ``tx``, for the machine on the other ports.

    - ``take``: ``byte`` is the next one of a word for memory ``select``, the lowest first.
    - ``write``, in the cycle after a word's last byte: the word goes to ``address``, which is always below
      the memory's depth. Bits beyond its width are undefined. An image's words go to the memory named
      ``pixels``, from 0. The next word's first byte may come in the same cycle.
    - ``read``: ``answer`` is looked at exactly ``read_latency`` cycles later, and must be the byte at
      ``position`` of the word at ``address``. These and ``select`` hold still until then.
    - ``idle``: no image is in the machine; without it, memories are neither written nor read.
    - ``room``: the machine takes another image, of ``image_bytes``, a multiple of a pixel word's. It is
      looked at when the image begins to come, at least a cycle behind the ``commit`` before it, and must
      then stay until its own.
    - ``commit``, one cycle: the image that was written is intact, its pixels all there.
    - ``again``: while it is high, a ``commit`` means the image of the last ``commit`` before it, whose pixels
      are still there. It rises and falls only while ``idle`` is high.
    - ``results``: of each image committed, in order, ``result_words`` ≥ 1 words. The last one is marked, and
      those that are answers; a frame in which another one is the last gets a wrong CRC. Once the first is
      offered the others must follow without a further byte from the host. Both sizes hold still while images
      are in flight, of which there may be `IN_FLIGHT`.
    - ``reset``, one cycle: the machine forgets its images, and from the next cycle on offers no results but
      those of later ones.
    - ``sealed``: the tables are whole. ``error``: the latest answer was an ERROR. For lamps.

    It takes a byte a cycle, but for 2 cycles behind each header, 2 behind a payload that is answered and 1
    behind one that is not; and it waits, which ``tx`` alone can end, where an answer is due while a frame
    is still being sent, and while a READ is answered, ``read_latency`` + 2 cycles a byte. While a BENCH goes
    on it waits for the machine, and for ``room`` where an image `WAITS` for that.
    """

    IN_FLIGHT = 4

    def __init__(self, identity: Identity, pixels: str, timeout: int, read_latency: int):
        known = numbers(identity.memories)
        if pixels not in known:
            raise ValueError(f"Link pixels must be one of the memories {', '.join(known)}, not {pixels!r}")
        self.identity, self.pixels, self.read_latency = identity, known[pixels], read_latency
        self._receiver, self._words = FrameReceiver(timeout), Words(identity.memories)
        machine = {name: port.flip() for name, port in machine_ports(identity.memories).items()}
        super().__init__(
            {
                "rx": In(stream.Signature(8)),
                "tx": Out(stream.Signature(8)),
                **machine,
                "reset": Out(1),
                "sealed": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = self._receiver
        m.submodules.words = words = self._words
        m.submodules.sender = sender = FrameSender()
        m.submodules.repeat = repeat = Repeat()
        sequences = SyncFIFO(width=8, depth=self.IN_FLIGHT)
        m.submodules.sequences = ResetInserter(self.reset)(sequences)
        wiring.connect(m, wiring.flipped(self.rx), receiver.rx)
        wiring.connect(m, wiring.flipped(self.tx), sender.tx)
        header, kind = receiver.header, receiver.header.type
        image = kind == FrameType.IMAGE

        sealed, refused, answering, offered = self.sealed, Signal(), Signal(), Signal()
        answer, code, fetched, delay = Signal(8), Signal(4), Signal(8), Signal(range(self.read_latency))
        room = self.room & sequences.w_rdy
        refusal = refusal_of(
            m, header, words, sealed=sealed, idle=self.idle, room=room, image_bytes=self.image_bytes
        )
        fault = fault_of(m, receiver, words)
        m.d.comb += [
            words.memory.eq(Mux(image, self.pixels, header.detail)),
            words.first.eq(Mux(image, 0, header.address)),
            words.take.eq(receiver.payload.valid & ~refused),
            self.select.eq(words.select),
            self.address.eq(words.address),
            self.byte.eq(receiver.payload.p),
            self.take.eq(words.take),
            self.write.eq(words.write),
            self.position.eq(words.position),
            repeat.count.eq(header.address),
            repeat.room.eq(self.room),
            repeat.came.eq(self.results.valid),
            repeat.result.eq(self.results.p),
            self.again.eq(repeat.again),
            sequences.w_data.eq(header.sequence),
            sequences.w_en.eq(self.commit & ~self.again),
        ]
        m.d.sync += self.reset.eq(0)  # of all that is in the machine: a register, or it would come late
        with m.FSM():
            with m.State("LISTEN"):
                with m.If(receiver.begun):
                    m.d.comb += words.begin.eq(1)
                    m.next = "JUDGE"
                with m.Elif(receiver.ended):
                    m.d.sync += [answer.eq(Mux(fault == 0, FrameType.ACK, FrameType.ERROR)), code.eq(fault)]
                    with m.If(refused | (image & (fault == 0))):
                        m.d.comb += [receiver.proceed.eq(1), self.commit.eq(~refused)]
                    with m.Else():
                        m.next = "ANSWER"
            with m.State("JUDGE"), m.If((refusal != 0) | ~image | room):  # an image may wait for room
                m.d.sync += [refused.eq(refusal != 0), code.eq(refusal), answer.eq(FrameType.ACK)]
                m.next = "ANSWER"
                with m.If(refusal != 0):
                    m.d.sync += answer.eq(FrameType.ERROR)
                with m.Else():
                    with m.If(kind[PAYLOAD_BIT]):
                        m.d.comb += receiver.proceed.eq(1)
                        m.next = "LISTEN"
                    with m.Switch(kind):
                        with m.Case(FrameType.LOAD):
                            m.d.sync += sealed.eq(0)
                        with m.Case(FrameType.SEAL):
                            m.d.sync += sealed.eq(1)
                        with m.Case(FrameType.RESET):
                            m.d.sync += self.reset.eq(1)
                        with m.Case(FrameType.IDENTIFY):
                            m.d.sync += answer.eq(FrameType.IDENTITY)
                        with m.Case(FrameType.READ):
                            m.d.sync += answer.eq(FrameType.DATA)
                        with m.Case(FrameType.BENCH):
                            m.d.sync += answer.eq(FrameType.BENCHED)
                            m.next = "CLEAR"
            # Results, and the last sum, may still be on their way to the host.
            with m.State("CLEAR"), m.If(sender.frame.ready):
                m.d.comb += repeat.begin.eq(1)
                m.next = "REPEAT"
            with m.State("REPEAT"):
                m.d.comb += self.commit.eq(repeat.commit)
                with m.If(repeat.done):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += answering.eq(1)
                with m.If(sender.frame.ready):
                    m.d.sync += self.error.eq(answer == FrameType.ERROR)
                    m.next = "FETCH"
                    with m.If(answer != FrameType.DATA):
                        m.d.comb += receiver.proceed.eq(1)
                        m.next = "LISTEN"
            with m.State("FETCH"):
                m.d.comb += self.read.eq(1)
                m.d.sync += delay.eq(0)
                m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(delay == self.read_latency - 1):
                    m.d.sync += fetched.eq(self.answer)
                    m.next = "OFFER"
                with m.Else():
                    m.d.sync += delay.eq(delay + 1)
            with m.State("OFFER"):
                m.d.comb += offered.eq(1)
                with m.If(sender.payload.ready):
                    m.d.comb += words.skip.eq(1)
                    m.next = "FETCH"
                    with m.If(sender.left == 1):
                        m.d.comb += receiver.proceed.eq(1)
                        m.next = "LISTEN"

        # An answer waits for nothing but the frame before it, a result waits for answers too.
        frame, identity = sender.frame, self.identity.encode()
        # This large table has three cycles for itself, without a byte: after a header and after each byte. In
        # the second one each sixteen of it is looked at, and in the third one of these is taken.
        place, table = streamed(m, sender.left[: bits_for(len(identity))]), [0, *reversed(identity)]
        parts = [table[first : first + _FINE] for first in range(0, len(table), _FINE)]
        found = Array(streamed(m, lookup(m, place[: ceil_log2(_FINE)], part)) for part in parts)
        constant = streamed(m, found[streamed(m, place[ceil_log2(_FINE) :])])
        moved, settled = frame.ready | (sender.payload.valid & sender.payload.ready), Signal()
        m.d.sync += settled.eq(~(moved | registered(m, moved) | registered(m, moved, 2)))
        result = self.results.valid & sequences.r_rdy & ~self.reset & ~answering
        m.d.comb += [frame.valid.eq(answering | result), sequences.r_en.eq(result & frame.ready)]
        with m.If(answering):
            m.d.comb += [frame.p.type.eq(answer), frame.p.sequence.eq(header.sequence)]
            m.d.comb += frame.p.detail.eq(code)
            with m.If(answer == FrameType.IDENTITY):
                m.d.comb += frame.p.length.eq(len(identity))
            with m.Elif(answer == FrameType.DATA):
                m.d.comb += frame.p.length.eq(header.length)
            with m.Elif(answer == FrameType.BENCHED):
                m.d.comb += frame.p.length.eq(BENCHED.size)
        with m.Else():
            m.d.comb += [frame.p.type.eq(FrameType.RESULT), frame.p.sequence.eq(sequences.r_data)]
            m.d.comb += frame.p.length.eq(self.result_words * RESULT_BYTES)
        with m.Switch(sender.sending):
            with m.Case(FrameType.IDENTITY):
                m.d.comb += [sender.payload.valid.eq(settled), sender.payload.p.eq(constant)]
            with m.Case(FrameType.DATA):
                m.d.comb += [sender.payload.valid.eq(offered), sender.payload.p.eq(fetched)]
            with m.Case(FrameType.RESULT):
                self._result(m, sender)
            with m.Case(FrameType.BENCHED):
                place = (-sender.left)[: ceil_log2(BENCHED.size)]
                m.d.comb += sender.payload.valid.eq(1)
                m.d.comb += sender.payload.p.eq(Cat(repeat.elapsed, repeat.total).word_select(place, 8))
        with m.If(self.again):
            m.d.comb += self.results.ready.eq(1)
        return m

    def _result(self, m: Module, sender: FrameSender):
        """The words of a RESULT frame; one that a reset cuts short is brought to its length."""
        results, payload, aborted, spoilt = self.results, sender.payload, Signal(), Signal()
        place = (-sender.left)[: ceil_log2(RESULT_BYTES)]
        m.d.comb += [
            payload.valid.eq(results.valid | aborted),
            payload.p.eq(results.p.word.word_select(place, 8)),
            results.ready.eq(payload.ready & (place == RESULT_BYTES - 1) & ~aborted),
            sender.spoil.eq(aborted | spoilt),
        ]
        with m.If(sender.frame.ready):
            m.d.sync += [aborted.eq(0), spoilt.eq(0)]
        with m.Else():
            m.d.sync += aborted.eq(aborted | self.reset)
            with m.If(results.valid & results.ready & (results.p.last != (sender.left == 1))):
                m.d.sync += spoilt.eq(1)
