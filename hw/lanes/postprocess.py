"""A lane's post-processing: affine, shortcut, IRPReLU, saturation and sign, one token a cycle."""

import types

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.pipeline import streamed
from haarlequin.models.widths import Widths


def lane_constants(widths: Widths) -> data.StructLayout:
    """Constants of one channel, as a tile keeps them in its lane.

    Shifts are folded in while the constants load (`docs/arithmetic.md`): ``a`` is a_c << (high − s) for the
    affine's window (low, high), the slopes likewise, so that every product is shifted by its ``high``.
    """
    a = widths.multiplier + widths.affine_shift[1] - widths.affine_shift[0]
    slope = widths.slope + widths.slope_shift[1] - widths.slope_shift[0]
    return data.StructLayout(
        {
            "a": signed(a),
            "b": signed(widths.bias),
            "positive": signed(slope),
            "negative": signed(slope),
            "offset": signed(widths.offset),
            "move": signed(widths.offset),
        }
    )


def round_shift(value: Value, addend: Value, shift: int) -> Value:
    """((value + 2^(shift−1)) >> shift) + addend, in one addition."""
    half = 1 << shift >> 1
    return (value + ((addend << shift) + half)) >> shift


def saturate(m: Module, value: Value, bits: int, clipped: Signal) -> Value:
    """``value`` as `arithmetic.sat` gives it; ``clipped`` says whether it changed."""
    wide = Signal(value.shape())
    m.d.comb += [wide.eq(value), clipped.eq(wide[bits - 1 :].any() & ~wide[bits - 1 :].all())]
    edge = (1 << (bits - 1)) - 1
    return Mux(clipped, Mux(wide[-1], ~edge, edge), wide[:bits].as_signed())


class PostProcess(wiring.Component):
    """y = `arithmetic.irprelu`(`arithmetic.affine`(acc) + shortcut, …, residual) and its sign, for one
    channel.

    One token a cycle, always ready. The operands arrive when they are needed: ``shortcut`` comes `SHORTCUT`
    cycles and ``residual`` and ``token`` come `RESIDUAL` cycles behind their ``acc``; ``y``, ``bit`` (1 where
    y ≥ −move) and ``clipped`` (a bit for each of the two saturations, 1 where it changed something) `LATENCY`
    cycles. Each of the ``constants`` is used one cycle behind its `TAKEN`: if all of them change in theirs,
    the tokens of the next tile can follow without a gap.
    """

    TAKEN = types.MappingProxyType({"a": 0, "b": 1, "positive": 3, "negative": 3, "offset": 3, "move": 5})
    """Cycles behind the ``acc`` of a tile's first token in which a register takes each constant."""

    SHORTCUT = 3
    RESIDUAL = 4
    LATENCY = 7

    def __init__(self, widths: Widths, acc_bits: int):
        self.widths = widths
        wide = signed(widths.wide)
        super().__init__(
            {
                "constants": In(lane_constants(widths)),
                "acc": In(signed(acc_bits)),
                "shortcut": In(wide),
                "residual": In(wide),
                "token": In(signed(widths.offset)),
                "y": Out(wide),
                "bit": Out(1),
                "clipped": Out(2),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bits, c = self.widths.wide, self.constants
        product = streamed(m, streamed(m, self.acc) * c.a)  # 1, 2
        affine = streamed(m, round_shift(product, c.b, self.widths.affine_shift[1]))  # 3
        clipped_d, clipped_y = Signal(), Signal()
        d = streamed(m, saturate(m, affine + self.shortcut, bits, clipped_d))  # 4
        scaled = streamed(m, d * Mux(d < 0, c.negative, c.positive))  # 5
        offsets = streamed(m, c.offset + self.token + self.residual)  # 5
        total = round_shift(scaled, offsets, self.widths.slope_shift[1])
        y = streamed(m, saturate(m, total, bits, clipped_y))  # 6
        m.d.comb += [self.y.eq(streamed(m, y)), self.bit.eq(streamed(m, y + c.move >= 0))]  # 7
        m.d.comb += self.clipped.eq(Cat(streamed(m, clipped_d, 4), streamed(m, clipped_y, 2)))
        return m
