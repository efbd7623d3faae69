"""The answers of a segmentation network: a class for each token, or all logits, packed into words."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.flow_control import counter
from haarlequin.hw.link.protocol import CLASS_BITS, LOGIT_BITS, RESULT_BYTES

WORD = 8 * RESULT_BYTES


class Answers(wiring.Component):
    """Takes the logits of token after token, and keeps the image's answers until they are read.

    A token's answer is the number of its largest logit, of several the first, in 8 bits. With ``whole`` the
    answers are the logits themselves, in 16 bits each. A word has the first of its answers lowest; the last
    word of an image may have fewer of them.

    Parameters
    ----------
    wide : int
        Bits of a logit, 16 at most.
    max_tokens, max_classes : int
        The most tokens of an image and the most classes, 256 at most.
    depth : int
        The most words of an image.

    Members
    -------
    tokens : In(range(max_tokens + 1))
        The number of tokens. It must not change from the cycle before an image's first logit to its last.
    classes : In(range(max_classes + 1))
        The number of classes. It must not change in that time either.
    whole : In(1)
        Whether answers are logits. It must not change in that time either.
    logits : In(stream.Signature(signed(wide)))
        The logits, always taken. The next image's first one must come when all words have been read.
    words : Out(stream.Signature(32))
        The words, in order. Where none before it waits, a word comes `LATENCY` cycles after its last logit.
    """

    LATENCY = 3
    """Cycles from the last logit of a word to the word."""

    def __init__(self, wide: int, max_tokens: int, max_classes: int, depth: int):
        for name, value, most in (("wide", wide, LOGIT_BITS), ("max_classes", max_classes, 1 << CLASS_BITS)):
            if not (isinstance(value, int) and 1 <= value <= most):
                raise ValueError(f"Answers {name} must be an integer from 1 to {most}, not {value!r}")
        # With two places it has no room in the cycle after a word, and the last word may follow another one.
        self._fifo = SyncFIFOBuffered(width=WORD, depth=max(depth, 3))
        super().__init__(
            {
                "tokens": In(range(max_tokens + 1)),
                "classes": In(range(max_classes + 1)),
                "whole": In(1),
                "logits": In(stream.Signature(signed(wide), always_ready=True)),
                "words": Out(stream.Signature(WORD)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = self._fifo
        logit, taken = self.logits.p, self.logits.valid
        class_, ends_token = counter(m, self.classes, taken)
        _, ends_image = counter(m, self.tokens, taken, inner=ends_token)

        best, best_class, chosen = Signal.like(logit), Signal(CLASS_BITS), Signal(CLASS_BITS)
        better = (class_ == 0) | (logit > best)
        m.d.comb += chosen.eq(Mux(better, class_, best_class))
        with m.If(taken):
            m.d.sync += [best.eq(Mux(better, logit, best)), best_class.eq(chosen)]

        # The last answers of a word come in at the top and move those before down.
        answered, last = Signal(), Signal()
        answer, word, place = Signal(LOGIT_BITS), Signal(WORD), Signal(range(WORD // CLASS_BITS))
        m.d.sync += [
            answered.eq(taken & (ends_token | self.whole)),
            last.eq(ends_image),
            answer.eq(Mux(self.whole, logit, chosen)),
        ]
        filled, full, rest = Signal(WORD), Signal(), Signal.like(place)
        m.d.comb += [
            filled.eq(
                Mux(
                    self.whole,
                    Cat(word[LOGIT_BITS:], answer),
                    Cat(word[CLASS_BITS:], answer[:CLASS_BITS]),
                )
            ),
            rest.eq(Mux(self.whole, WORD // LOGIT_BITS - 1, WORD // CLASS_BITS - 1) - place),
            full.eq(rest == 0),
            # A word that is not full is moved down by what is missing.
            fifo.w_data.eq(filled >> (rest << Mux(self.whole, 4, 3))),
            fifo.w_en.eq(answered & (full | last)),
        ]
        with m.If(answered):
            m.d.sync += [word.eq(filled), place.eq(Mux(full | last, 0, place + 1))]
        m.d.comb += [
            self.words.valid.eq(fifo.r_rdy),
            self.words.p.eq(fifo.r_data),
            fifo.r_en.eq(self.words.ready & self.words.valid),
        ]
        return m
