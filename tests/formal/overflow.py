"""No assignment of the RTL cuts off what it computes, except where it is meant to.

Amaranth's operators give results that are wide enough, and an assignment takes as many bits as its target has.
So an accumulator or counter can only wrap where an assignment cuts bits off. All of these are found in the
statements of a block. Each gets a flag that is high where its condition holds and its value does not fit.
"""

import linecache
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from amaranth.hdl import Const, Fragment, Mux, Signal, Value
from amaranth.hdl._xfrm import TransformedElaboratable
from amaranth.hdl._ast import Assign, Operator, Statement, Switch, SwitchValue
from amaranth.lib import wiring

from haarlequin.hw.link.frames import PAYLOAD_BIT
from haarlequin.hw.config import CONFIGS
from tests.formal.design import Design, below
from tests.formal.streams import origin


def computes(value: Value) -> bool:
    """Whether a value comes from an addition, subtraction, negation, product or shift to the left."""
    if isinstance(value, Operator):
        if value.operator in ("+", "-", "*", "<<", "//"):
            return True
        return value.operator in ("u", "s", ">>", "m") and any(map(computes, value.operands))
    if isinstance(value, SwitchValue):
        return any(computes(each) for _, each in value.cases)
    return False


def cuts(statement: Assign) -> bool:
    """Whether an assignment can cut something off: its value has more bits than the target, and is computed."""
    target, value = statement.lhs.shape(), statement.rhs.shape()
    fits = value.width <= target.width and (not target.signed or value.signed or value.width < target.width)
    return not fits and computes(statement.rhs)


def cut_off(statement: Assign) -> Value:
    """1 where the assigned value is not the value of the right side."""
    width, value = len(statement.lhs), statement.rhs
    taken = value[:width].as_signed() if statement.lhs.shape().signed else value[:width]
    return taken != value


def assignments(statements: list[Statement]) -> Iterator[Assign]:
    """Every assignment that can cut something off."""
    for statement in statements:
        if isinstance(statement, Switch):
            for _, inner, _ in statement.cases:
                yield from assignments(inner)
        elif isinstance(statement, Assign) and cuts(statement):
            yield statement


def flagged(statements: list[Statement], flags: dict[int, Signal]) -> list[Statement]:
    """The statements with only the assignments in ``flags``, each of which sets its flag instead."""
    kept: list[Statement] = []
    for statement in statements:
        if isinstance(statement, Switch):
            cases = [(patterns, flagged(inner, flags), at) for patterns, inner, at in statement.cases]
            if any(inner for _, inner, _ in cases):
                kept.append(Switch(statement.test, cases))
        elif id(statement) in flags:
            kept.append(flags[id(statement)].eq(cut_off(statement)))
    return kept


def target(statement: Assign) -> str:
    """The name of what an assignment sets, or, where Amaranth found none, how the RTL's text calls it."""
    name = next(iter(statement.lhs._lhs_signals())).name
    if name.startswith("$"):
        name = re.search(r"([\w.]+)(\[\w+\])?\.eq\(", linecache.getline(*statement.src_loc))[1].replace(".", "__")
    return name


SIZES = replace(CONFIGS["32x128-masks"], lanes=2, width=64, macs=2, max_classes=32)
"""The largest preset of a board, with few lanes and multipliers, as all of them are alike."""

MODULO = {
    "FrameReceiver.silence": "it is looked at within a frame only, where it ends the frame at its limit",
    "FrameSender.count": "it runs on within a payload, where it is not looked at",
    "Words.address": "a word outside of the memory was noticed before",
    "SyncFIFO.produce": "a place in a ring of a power of two",
    "SyncFIFO.consume": "a place in a ring of a power of two",
    "Machine.cycles": "an image takes less than 2^32 cycles; between images it is not looked at",
    "Machine.own_clipped": "an image has less than 2^31 saturations: `Images.clipped`, `Layers.clipped`",
    "Machine.number": "it ends at `result_words` − 3, of the same width; the compiler sets that (tables)",
    "Machine.flying": "`Link.IN_FLIGHT` images at most, whose numbers the link keeps: 4 of 15",
    "Machine.results__payload": "the same saturations, and those of the head's features",
    "Layers.clipped": "four saturations per lane and cycle at most, in less than 2^20 cycles of an image",
    "Layers.stored": "a mean of values that fit: `docs/arithmetic.md`; the compiler runs every tensor",
    "Layers.write__en": "a chunk is below the chunks of a word (schedule)",
    "LaneArray.others": "sums fit `Widths.wide` (docs/arithmetic.md); the compiler runs every tensor",
    "LaneArray.acc": "sums fit `Widths.wide` (docs/arithmetic.md); the compiler runs every tensor",
    "LocalConvolution.sum": "the sum of θ² signs in its width, shifted by at most the largest shift",
    "Loader.constants": "the shift of a load is in its window: `Widths` and the compiler's tables",
    "Sequencer.index": "the program ends with the memory (resources.check_memories)",
    "Sequencer.token": "contexts are counted modulo 4; places and numbers are below their tensors' (schedule)",
    "Sequencer.grid_end": "of a pass without tokens it is not looked at",
    "Sequencer.last_row_from": "of a pass without a grid it is not looked at",
    "Sequencer.place": "addresses are modulo their memory",
    "Sequencer.column": "a grid has at most max_columns columns (resources.check_shapes)",
    "Attention.row": "a head has at most `keys` rows (resources.check_shapes); it ends with them",
    "Attention.tile": "a row has at most its `key_tiles` (schedule); it ends with them",
    "Attention.chunk": "it begins again at the last chunk; `key_chunk` is one (schedule)",
    "BinarySoftmax.bound": "what it cuts off is kept in `none`: a threshold property has that",
    "BinarySoftmax.index": "`beyond` says that it was cut off, and replaces it",
    "LineBuffer.following": "a grid has at most max_columns columns (resources.check_shapes)",
    "Images.tile": "the address of a word in bank B (resources.check_memories)",
    "Loader.lane": "it ends with the last lane, and begins at 0",
    "Embedding.clipped": "two saturations at most for each value of an image (resources.check_shapes)",
    "Embedding.index": "while no group leaves it runs on, and begins at 0",
    "Head.clipped": "one saturation at most for each of the `dim` sums of an image",
    "SyncFIFOBuffered.produce": "a place in a ring",
    "SyncFIFOBuffered.consume": "a place in a ring",
    "Pool.left": "it counts down to 0 and stops: a stream property has that",
    "Head.weight": "classes · dim weights are in the table (resources.check_memories)",
    "Counters.write__data": "they wrap around, as documented",
    "ScalarMachine.spent": "it wraps around, as documented",
    "ScalarMachine.result_words": "there are at most 1000 classes",
    "ScalarCore._left": "it runs on after the last word or place, where it is not looked at",
    "ScalarCore.ones": "a sum of 16 bits, whose width Amaranth takes as one more for each",
    "ScalarCore.cycles": "an image takes less than 2^32 cycles",
    "ScalarCore.saturations": "an image takes less than 2^32 cycles",
    "ScalarCore.looked_up": "registers are numbered modulo 64",
    "ScalarCore.following": "the code ends with a HALT or a jump (the compiler's firmware)",
    "Answers.rest": "a word of whole logits has two places, which is what `place` reaches then",
}
"""Assignments that may cut something off, or that only something outside of their block keeps from it, and why.

``Block.target`` names all assignments of a block to that target."""


def address(name: str) -> bool:
    """Whether a target is an address, which is modulo its memory by contract: `hw.program.pass_layout`."""
    last = name.rpartition("__")[2]
    words = ("corner", "line", "row_start", "word", "done_row", "query", "row_corner", "addr")
    return last in words or last.startswith("address") or last.endswith(("_address", "_addr")) or (
        name == "tiles__payload"
    )


def block_name(part: Fragment) -> str:
    """The class that a fragment was made of."""
    origins = [each for each in part.origins or () if not isinstance(each, TransformedElaboratable)]
    return type(origins[0]).__name__ if origins else ""


class OverflowDesign(Design):
    """A block without the components within it, with a flag for each of its assignments that must not cut off.

    A flag is seen one cycle late, when the lemmas of its cycle are known.
    """

    def __init__(self, component: wiring.Component):
        self.meant: set[str] = set()
        """Those of its assignments that `MODULO` or `address` allows."""
        super().__init__(component, lambda part: origin(part) is not None)
        PREPARE.get(type(component).__name__, lambda design, block: None)(self, component)
        for part in below(self.fragment):
            for domain, statements in [*part.statements.items()]:
                flags = self._flags(block_name(part), assignments(statements))
                for statement in flagged(statements, flags):
                    part.add_statements("comb", statement)
                for name, flag in [*self._late.items()]:
                    late = Signal(name=f"late_{name}")
                    self.m.d.sync += late.eq(flag)
                    self.never(name, late)

    def _flags(self, block: str, found: Iterator[Assign]) -> dict[int, Signal]:
        flags, self._late = {}, {}
        for statement in found:
            name = f"{block}.{target(statement)}"
            if name in MODULO or address(target(statement)):
                self.meant.add(name)
                continue
            flags[id(statement)] = flag = Signal(name=f"cut_{name}_{len(self.flags) + len(flags)}")
            again = sum(each.partition("#")[0] == name for each in (*self.flags, *self._late))
            self._late[f"{name}#{again + 1}" if again else name] = flag
        return flags


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
    design.lemma("channel < dim", design.signal("channel") < settings.dim)
    design.lemma("token < tokens", design.signal("token") < settings.tokens)


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
        design.lemma(f"|product_{k}| ≤ 2^{bits}", _within(product, Const(1 << bits)))
        design.lemma(f"|sum_{k}| ≤ n · 2^{bits}", _within(design.signal(f"sum_{k}"), terms << bits))


def _head(design: Design, head: wiring.Component) -> None:
    adds, begins, start, product = _sum(design, "logits__payload")
    terms = _terms(design, begins, adds, head.max_channels)
    most = (1 << 31) - 1 - (head.max_channels << 14)
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
    terms = _terms(design, pool.begins, pool.enable, 1 << (len(pool.sums.p) - pool.wide))
    for lane in range(pool.lanes):
        design.lemma(f"|sum_{lane}| ≤ n · 2^{pool.wide - 1}", _within(
            design.signal(f"sum_{lane}"), terms << (pool.wide - 1)))


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
    "Head": "there are at most max_channels channels and |bias| < 2^31 − channels · 2^14 (models' bounds)",
    "Pool": "a grid has at most max_tokens tokens (resources.check_shapes)",
    "BinarySoftmax": "a row has at most max_tiles tiles (resources.check_shapes)",
}
"""What those lemmas are based on, in words, and what makes sure of it."""
