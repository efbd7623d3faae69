"""A lane's post-processing: affine, shortcut, IRPReLU, saturation and sign, one token a cycle."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
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
    cycles.

    The constants of ``slots`` tiles are at hand: ``write`` with ``write_slot`` and ``constants`` fills a
    slot, and ``slot``, beside ``acc``, says which one a token is computed with, so that the next tile can
    follow without a gap. A slot must not be written while tokens that use it pass.
    """

    SHORTCUT = 3
    RESIDUAL = 4
    LATENCY = 7

    def __init__(self, widths: Widths, acc_bits: int, slots: int):
        if not (isinstance(slots, int) and slots >= 2):
            raise ValueError(f"PostProcess slots must be an integer of at least 2, not {slots!r}")
        self.widths, self.slots = widths, slots
        wide = signed(widths.wide)
        super().__init__(
            {
                "write": In(1),
                "write_slot": In(range(slots)),
                "constants": In(lane_constants(widths)),
                "slot": In(range(slots)),
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
        bits = self.widths.wide

        slots = [self.slot]
        for _ in range(self.LATENCY - 2):
            slots.append(streamed(m, slots[-1]))

        def constants(stage: int, *names: str) -> list[Value]:
            """Constants of the token that is ``stage`` cycles behind its ``acc``, found a cycle before."""
            layout = data.StructLayout({name: self.constants.shape()[name].shape for name in names})
            memory = Memory(shape=layout, depth=self.slots, init=[])
            m.submodules["_".join(names)] = memory
            write, read = memory.write_port(), memory.read_port(domain="comb")
            m.d.comb += [
                write.addr.eq(self.write_slot),
                write.en.eq(self.write),
                read.addr.eq(slots[stage - 1]),
            ]
            m.d.comb += [write.data[name].eq(self.constants[name]) for name in names]
            found = streamed(m, read.data)
            return [found[name] for name in names]

        (a,), (b,), (move,) = constants(1, "a"), constants(2, "b"), constants(6, "move")
        positive, negative, offset = constants(4, "positive", "negative", "offset")

        product = streamed(m, streamed(m, self.acc) * a)  # 1, 2
        affine = streamed(m, round_shift(product, b, self.widths.affine_shift[1]))  # 3
        clipped_d, clipped_y = Signal(), Signal()
        d = streamed(m, saturate(m, affine + self.shortcut, bits, clipped_d))  # 4
        scaled = streamed(m, d * Mux(d < 0, negative, positive))  # 5
        offsets = streamed(m, offset + self.token + self.residual)  # 5
        total = round_shift(scaled, offsets, self.widths.slope_shift[1])
        y = streamed(m, saturate(m, total, bits, clipped_y))  # 6
        m.d.comb += [self.y.eq(streamed(m, y)), self.bit.eq(streamed(m, y + move >= 0))]  # 7
        m.d.comb += self.clipped.eq(Cat(streamed(m, clipped_d, 4), streamed(m, clipped_y, 2)))
        return m
