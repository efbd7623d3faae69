"""What sums and counters of the blocks rely on, and the lemmas that their proofs need.

A sum is bounded by the number of its terms. The number is counted beside the block, and that it stays within
the size of the machine is assumed: the compiler refuses a model for which it would not (`RELIES`).
"""

from amaranth.hdl import Const, Mux, Signal, Value
from amaranth.lib import wiring

from haarlequin.hw.common.pipeline import registered
from haarlequin.hw.link.frames import PAYLOAD_BIT
from haarlequin.models.golden import HEAD_BIAS_BITS
from tests.formal.design import Design, driven


def _stable(design: Design, *values: Value) -> None:
    for value in values:
        design.assume(value == design.before(value))


def _sender(design: Design, sender: wiring.Component) -> None:
    frame = sender.frame
    design.assume(~(frame.valid & frame.p.type[PAYLOAD_BIT] & (frame.p.length == 0)))


def _images(design: Design, images: wiring.Component) -> None:
    settings = images.settings
    _stable(design, settings.tokens, settings.dim)
    design.assume((settings.tokens != 0) & (settings.tokens <= images.config.max_tokens))
    design.assume((settings.dim != 0) & (settings.dim <= images.config.max_channels))
    design.assume(images.room | ~images.commit)
    design.assume(images.waiting | ~images.begin)
    # The embedding gives as many values as an image has, and the last of them ends it.
    design.assume(images.busy | ~(images.valid & images.ready & design.signal("last")))
    inside = Signal(2, name="inside")  # images in the program
    design.m.d.sync += inside.eq(inside + images.begin - images.done)
    design.assume(Mux(images.done, inside == 1, ~images.begin | (inside == 0)))
    held, complete = design.signal("held"), design.signal("complete")
    design.lemma("held images are embedded, wait or are computed", held == images.busy + complete + inside)
    channel, token = (signal for signal in driven(design.fragment) if signal.name == "count")
    design.lemma("channel < dim", channel < settings.dim)
    design.lemma("token < tokens", token < settings.tokens)


def _answers(design: Design, answers: wiring.Component) -> None:
    _stable(design, answers.whole)


def _sum(design: Design, name: str) -> tuple[Value, Value, Value, Value]:
    """Of ``sum.eq(Mux(begins, start, sum) + term)`` within ``m.If(adds)``: adds, begins, start and term."""
    total = design.signal(name)
    (taken,) = (each for each in design.fragment.statements["sync"] if total in each._lhs_signals())
    value, term = taken.cases[0][1][0].rhs.operands
    return taken.test, value.test, value.cases[0][1], term


def _embedding(design: Design, embedding: wiring.Component) -> None:
    bits = 14  # of a product of 8 bits and 8 bits, −128 · −128 at most
    for k in range(embedding.macs):
        adds, begins, _, product = _sum(design, f"sum_{k}")
        if k == 0:
            terms = _terms(design, begins, adds, embedding.signature.members["patch"].shape.stop - 1)
        design.assume(_within(product, Const(1 << bits)))  # but for what its register begins with
        design.lemma(f"|sum_{k}| ≤ n · 2^{bits}", _within(design.signal(f"sum_{k}"), terms << bits))


def _head(design: Design, head: wiring.Component) -> None:
    adds, begins, start, product = _sum(design, "logits__payload")
    terms = _terms(design, begins, adds, head.max_channels)
    most = 1 << (HEAD_BIAS_BITS - 1)
    design.assume(_within(product, Const(1 << 14)) & _within(start, Const(most)))
    design.lemma("|logit| ≤ |bias| + n · 2^14", _within(head.logits.p, most + (terms << 14)))


def _terms(design: Design, begins: Value, adds: Value, most: int) -> Signal:
    """How many terms a sum has. That there are at most so many is assumed."""
    terms = Signal(range(most + 1), name="terms")
    design.assume(~adds | begins | (terms < most))
    design.m.d.sync += terms.eq(Mux(adds, Mux(begins, 1, terms + 1), terms))
    return terms


def _within(total: Value, bound: Value) -> Value:
    return (total <= bound) & (total >= -bound)


def _pool(design: Design, pool: wiring.Component) -> None:
    begins, enable = (registered(design.m, strobe) for strobe in (pool.begins, pool.enable))
    terms = _terms(design, begins, enable, 1 << (len(pool.sums.p) - pool.wide))
    for lane in range(pool.lanes):
        design.lemma(
            f"|sum_{lane}| ≤ n · 2^{pool.wide - 1}",
            _within(design.signal(f"sum_{lane}"), terms << (pool.wide - 1)),
        )


def _softmax(design: Design, softmax: wiring.Component) -> None:
    before, sum_of_row = design.signal("before"), design.signal("sum_of_row")
    clocked, others = (design.fragment.statements[domain] for domain in ("sync", "comb"))
    (taken,) = (each for each in clocked if before in each._lhs_signals())
    (adds,) = (each for each in others if sum_of_row in each._lhs_signals())
    strobe, total = taken.test, adds.rhs.operands[1]
    last = taken.cases[0][1][0].rhs.test
    begins = Signal(init=1)
    with design.m.If(strobe):
        design.m.d.sync += begins.eq(last)
    terms = _terms(design, begins, strobe, softmax.max_tiles)
    most = (1 << len(total)) - 1
    so_far = Mux(begins, 0, terms)
    design.lemma(f"Σ ≤ n · {most}", before <= so_far * most)


PREPARE = {
    "FrameSender": _sender,
    "Images": _images,
    "ScalarMachine": lambda design, machine: design.assume(machine.room | ~machine.commit),
    "Answers": _answers,
    "Embedding": _embedding,
    "Head": _head,
    "Pool": _pool,
    "BinarySoftmax": _softmax,
}
"""What a block relies on, and lemmas about its sums, by its name."""

RELIES = {
    "FrameSender": "a frame with a payload has one byte at least (the link's answers)",
    "ScalarMachine": "an image is handed over only while there is room (the link)",
    "Images": "images come and go as their ports allow, of sizes in range (resources.check_shapes)",
    "Answers": "`whole` holds still",
    "Embedding": "a patch has at most max_patch_length values (resources.check_shapes)",
    "Head": "there are at most max_channels channels (resources.check_shapes), and a bias has "
    "HEAD_BIAS_BITS bits (models/golden.py)",
    "Pool": "a grid has at most max_tokens tokens (resources.check_shapes)",
    "BinarySoftmax": "a row has at most max_tiles tiles (resources.check_shapes)",
}
"""What those lemmas are based on, in words, and what makes sure of it."""
