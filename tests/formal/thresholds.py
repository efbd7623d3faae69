"""Where the hardware compares instead of computing, or computes in another order, the result is the same."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.attention.softmax import BinarySoftmax
from haarlequin.hw.common.flow_control import counter
from haarlequin.hw.lanes.postprocess import PostProcess, round_shift, saturate
from haarlequin.models.widths import Widths
from tests.formal.design import Design

WIDTHS = Widths()


def softmax(off: int = 0) -> Design:
    """A key passes the bound ⌈τ·Σ / 2^F⌉ just where e << F ≥ τ·Σ, for every product τ·Σ and every e.

    ``off`` is added to τ·Σ: with anything but 0 it is another condition.
    """
    block = BinarySoftmax(2, WIDTHS, 2, WIDTHS.wide)
    design = Design(block)
    bound, entries = design.signal("bound"), design.signal("read__data")
    (taken,) = (each for each in design.fragment.statements["sync"] if bound in each._lhs_signals())
    (product,) = (each for each in taken._rhs_signals() if len(each) > 2 * WIDTHS.exp)
    decided, limit = Signal(), Signal.like(product)
    expected, compared = Signal(block.lanes), Signal()
    design.m.d.sync += [decided.eq(taken.test), limit.eq(product), compared.eq(decided)]
    for lane in range(block.lanes):
        entry = entries.word_select(lane, WIDTHS.exp)
        design.m.d.sync += expected[lane].eq((entry << WIDTHS.threshold) >= limit + off)
    design.never("keys that pass", compared & (block.chosen.p.keys != expected))
    return design


def sign(off: int = 0) -> Design:
    """The bit of a result is 1 just where y ≥ −move, for every y and every move."""
    block = PostProcess(WIDTHS, WIDTHS.wide)
    design = Design(block)
    (bit,) = (each.rhs for each in design.fragment.statements["comb"] if block.bit in each._lhs_signals())
    (sets,) = (each for each in design.fragment.statements["sync"] if bit in each._lhs_signals())
    y, move = sets.rhs.operands[0].operands
    expected = Signal(init=1)
    design.m.d.sync += expected.eq(y >= off - move)
    known = Signal()
    design.m.d.sync += known.eq(1)
    design.never("sign", known & (block.bit != expected))
    return design


class Roundings(wiring.Component):
    """`round_shift` and `saturate` as the lanes use them, at their widths."""

    def __init__(self) -> None:
        self.shift, wide = WIDTHS.affine_shift[1], signed(WIDTHS.wide)
        product = WIDTHS.wide + WIDTHS.multiplier + WIDTHS.affine_shift[1] - WIDTHS.affine_shift[0]
        ports = {"value": In(signed(product)), "addend": In(signed(WIDTHS.bias)), "y": Out(wide)}
        super().__init__(ports | {"clipped": Out(1)})

    def elaborate(self, platform):
        m = Module()
        rounded = round_shift(self.value, self.addend, self.shift)
        m.d.comb += self.y.eq(saturate(m, rounded, WIDTHS.wide, self.clipped))
        return m


def rounding(off: int = 0) -> Design:
    """sat(((value + 2^(s−1)) >> s) + addend), in one addition, is what the formula says."""
    block = Roundings()
    design = Design(block)
    value = ((block.value + (1 << (block.shift - 1))) >> block.shift) + block.addend
    most = (1 << (WIDTHS.wide - 1)) - 1 - off
    high, low = value > most, value < -most - 1
    design.never("value", block.y != Mux(high, most, Mux(low, -most - 1, value)))
    design.never("clipped", block.clipped != (high | low))
    return design


class Counting(wiring.Component):
    """A counter of `hw.common.flow_control`, which finds its end one cycle ahead."""

    def __init__(self, step: int) -> None:
        self.step = step
        super().__init__({"limit": In(8), "enable": In(1), "count": Out(8), "last": Out(1)})

    def elaborate(self, platform):
        m = Module()
        count, last = counter(m, self.limit, self.enable, self.step)
        m.d.comb += [self.count.eq(count), self.last.eq(last)]
        return m


def counting(step: int, off: int = 0) -> Design:
    """``last``, which is found a cycle ahead, is count + step ≥ limit, for every limit that stays."""
    block = Counting(step)
    design = Design(block)
    begun = Signal()
    design.m.d.sync += begun.eq(1)
    design.assume(block.limit == design.before(block.limit))
    design.assume(begun | ~block.enable)
    design.never("last", begun & (block.last != (block.count + block.step + off >= block.limit)))
    return design
