"""The words of a result: the answers of an image as they come, then what it took."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring

from haarlequin.hw.codes import ResultPart
from haarlequin.hw.common.counters import COUNTER_BITS
from haarlequin.hw.common.flow_control import skid_buffer
from haarlequin.hw.common.pipeline import streamed
from haarlequin.hw.ends.answers import Answers
from haarlequin.hw.ends.head import Head
from haarlequin.hw.ends.images import Images
from haarlequin.hw.lanes.layers import Layers


def image_answers(
    m: Module, sums: stream.Interface, settings: data.View, head: Head, answers: Answers | None
) -> stream.Interface:
    """The answers of an image: what the ``head`` makes of its ``sums``, or, where tokens have answers, what
    ``answers`` makes of them one by one.
    """
    # All of the head waits where a logit is not taken: that is for a register to say.
    logits = skid_buffer(m, head.logits)
    if answers is None:
        wiring.connect(m, sums, head.sums)
        return logits
    by_token = Signal(reset_less=True)
    m.d.sync += by_token.eq(settings.answers != 0)
    out = stream.Signature(signed(COUNTER_BITS)).create()
    m.d.comb += [
        answers.tokens.eq(settings.answers),
        answers.classes.eq(settings.classes),
        answers.whole.eq(settings.whole),
        answers.logits.p.eq(sums.p),
        answers.logits.valid.eq(sums.valid & by_token),
        head.sums.p.eq(sums.p),
        head.sums.valid.eq(sums.valid & ~by_token),
        sums.ready.eq(by_token | head.sums.ready),
        out.p.eq(Mux(by_token, answers.words.p, logits.p)),
        out.valid.eq(Mux(by_token, answers.words.valid, logits.valid)),
        answers.words.ready.eq(out.ready & by_token),
        logits.ready.eq(out.ready & ~by_token),
    ]
    return out


def send_results(
    m: Module,
    results: stream.Interface,
    result_words: Signal,
    answers: stream.Interface,
    settings: data.View,
    layers: Layers,
    images: Images,
    head: Head,
) -> None:
    """Send the ``answers`` of each image, then its cycles and its saturations: ``result_words`` in all.

    The ``layers`` are told when the head is free for the sums of another image.
    """
    # ``cycles`` and ``clipped`` are for the image in the layers. The other two are for the image whose
    # result is sent next, and which holds the head until then.
    cycles, own_cycles, clipped, own_clipped = (Signal(COUNTER_BITS) for _ in range(4))
    finished, holding = Signal(), Signal()
    m.d.sync += cycles.eq(cycles + 1)
    with m.If(layers.done):
        m.d.sync += [own_cycles.eq(cycles), own_clipped.eq(layers.clipped + clipped), finished.eq(1)]
    with m.If(layers.begin):
        m.d.sync += [cycles.eq(1), clipped.eq(images.clipped)]

    number, part = Signal.like(result_words), Signal(ResultPart)
    last_answer = number == streamed(m, result_words - 3)
    of_head = Mux(settings.answers == 0, head.clipped, 0)
    saturations = Signal(COUNTER_BITS)
    m.d.sync += saturations.eq(own_clipped + of_head)
    sent = results.valid & results.ready
    of_image = Mux(part == ResultPart.CYCLES, own_cycles, saturations)
    m.d.comb += [
        answers.ready.eq((part == ResultPart.ANSWERS) & results.ready),
        results.valid.eq(Mux(part == ResultPart.ANSWERS, answers.valid, finished)),
        results.p.word.eq(Mux(part == ResultPart.ANSWERS, answers.payload, of_image)),
        results.p.answer.eq(part == ResultPart.ANSWERS),
        results.p.last.eq(part == ResultPart.SATURATIONS),
        layers.head_free.eq(~holding),
    ]
    with m.If(sent):
        with m.If(part == ResultPart.ANSWERS):
            m.d.sync += number.eq(Mux(last_answer, 0, number + 1))
            m.d.sync += part.eq(Mux(last_answer, ResultPart.CYCLES, ResultPart.ANSWERS))
        with m.Else():
            ends = part == ResultPart.SATURATIONS
            m.d.sync += part.eq(Mux(ends, ResultPart.ANSWERS, ResultPart.SATURATIONS))
    with m.If(sent & results.p.last):
        m.d.sync += [holding.eq(0), finished.eq(0)]
    with m.If(layers.holds_head):
        m.d.sync += holding.eq(1)
