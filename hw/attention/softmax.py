"""The binary softmax, without division: the keys of a row that pass its threshold."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.attention.tiles import tree, words
from haarlequin.hw.common.pipeline import registered, streamed
from haarlequin.hw.common.sizes import check_positive
from haarlequin.models import arithmetic
from haarlequin.models.widths import Widths

SHIFTS = (2, 5)
"""The lowest and the highest shift r of the EXP index, for heads of 1 to 64 channels."""


def softmax_latency(lanes: int) -> int:
    """Cycles from the last tile of a row into `BinarySoftmax` to the first tile of the row out of it."""
    return 7 + ceil_log2(lanes)


class BinarySoftmax(wiring.Component):
    """Computes rows of Â by `arithmetic.binarise_softmax` from popcount scores P, where S = 2·P + a constant.

    A row has 1 to ``max_tiles`` tiles, and a tile has the scores of ``lanes`` keys. The block takes one tile
    per cycle; there may be cycles without a tile, also within a row. Rows can follow one another without a
    gap. But if a row has fewer tiles than the row before it, which has n of them, then its last tile must
    come at least n cycles after the last tile of the row before.

    It needs no division. A key passes where e << F ≥ τ·Σ, which is where e ≥ ⌈τ·Σ / 2^F⌉: one multiplication
    per row finds this bound. The entries e of EXP wait for the bound in a memory. Indices into EXP would
    be only a little narrower there, and would need a table of bounds as well.

    Parameters
    ----------
    lanes : int
        Keys of a tile.
    widths : Widths
        The widths of EXP's entries and indices and of the threshold, whose F fraction bits are all its bits.
    max_tiles : int
        Tiles of the longest row.
    score_bits : int
        The width of a score.
    shifts : tuple[int, int]
        The lowest and the highest r of the EXP index. If both are the same, the block takes 15 LUT4 per lane
        less; the P of a model with a smaller r is then scaled by 2^(highest − r).

    Members
    -------
    tiles : In(stream.Signature, always_ready)
        The tiles. A payload has ``scores``, unsigned, with lane 0 lowest; ``keys``, one bit for each lane,
        which is 1 if the lane has a key; ``maximum``, the largest score of the row; and ``last`` for the
        last tile of a row.
    shift : In(range(shifts[1] + 1))
        The r of the EXP index, valid together with every tile.
    threshold : In(widths.threshold)
        The head's τ, at least 1, valid together with the last tile of a row.
    chosen : Out(stream.Signature, always_ready)
        The tiles of Â, those of one row in consecutive cycles. The first one comes `latency` cycles after the
        row's last tile went in. A payload has ``keys``, one bit for each lane, which is 1 where Â is 1; and
        ``last`` for the last tile of a row.
    """

    def __init__(
        self,
        lanes: int,
        widths: Widths,
        max_tiles: int,
        score_bits: int,
        shifts: tuple[int, int] = SHIFTS,
    ):
        check_positive("BinarySoftmax", lanes=lanes, max_tiles=max_tiles, score_bits=score_bits)
        pair = isinstance(shifts, tuple) and len(shifts) == 2 and all(isinstance(r, int) for r in shifts)
        if not (pair and 0 <= shifts[0] <= shifts[1]):
            raise ValueError(f"BinarySoftmax shifts must be a window (low, high) from 0 on, not {shifts!r}")
        self.lanes = lanes
        self.widths = widths
        self.max_tiles = max_tiles
        self.score_bits = score_bits
        self.shifts = shifts
        tile = {"scores": lanes * score_bits, "keys": lanes, "maximum": score_bits, "last": 1}
        chosen = {"keys": lanes, "last": 1}
        super().__init__(
            {
                "tiles": In(stream.Signature(data.StructLayout(tile), always_ready=True)),
                "shift": In(range(shifts[1] + 1)),
                "threshold": In(widths.threshold),
                "chosen": Out(stream.Signature(data.StructLayout(chosen), always_ready=True)),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the last tile of a row in to its first tile out: 7 + ⌈log2 lanes⌉."""
        return softmax_latency(self.lanes)

    def elaborate(self, platform):
        m = Module()
        tile, widths, levels = self.tiles.p, self.widths, ceil_log2(self.lanes)
        scores = zip(words(tile.scores, self.lanes), tile.keys, strict=True)
        entries = [self._entry(m, score, key) for score, key in scores]  # 3 cycles after the tile
        strobe, last = registered(m, self.tiles.valid, 3), streamed(m, tile.last, 3)

        # The memory holds the tiles of a row, and those that come before the bound of the row is known.
        depth = 1 << ceil_log2(self.max_tiles + levels + 2)
        word = data.StructLayout({"entries": self.lanes * widths.exp, "last": 1})
        m.submodules.memory = memory = Memory(shape=word, depth=depth, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [write.data.entries.eq(Cat(entries)), write.data.last.eq(last), write.en.eq(strobe)]
        m.d.sync += write.addr.eq(write.addr + strobe)

        total = tree(m, entries, lambda a, b: a + b)  # 3 + levels
        strobe, last = registered(m, strobe, levels), streamed(m, last, levels)
        before = Signal(range(((1 << widths.exp) - 1) * self.lanes * self.max_tiles + 1))
        sum_of_row = Signal.like(before)
        m.d.comb += sum_of_row.eq(before + total)
        with m.If(strobe):
            m.d.sync += before.eq(Mux(last, 0, sum_of_row))
        threshold = streamed(m, self.threshold, 4 + levels)
        product = streamed(m, streamed(m, sum_of_row) * threshold)  # 4, 5 + levels
        decided = registered(m, strobe & last, 2)
        ceiling = (product + (1 << widths.threshold) - 1) >> widths.threshold
        bound, none = Signal(widths.exp, reset_less=True), Signal(reset_less=True)
        with m.If(decided):
            m.d.sync += [bound.eq(ceiling), none.eq(ceiling[widths.exp :].any())]  # 6 + levels

        reading, present = Signal(), Signal()
        m.d.comb += reading.eq(decided | (present & ~read.data.last))
        m.d.sync += [read.addr.eq(read.addr + reading), present.eq(reading)]  # 6 + levels
        passed = [(entry >= bound) & ~none for entry in words(read.data.entries, self.lanes)]
        keys, ends = streamed(m, Cat(passed)), streamed(m, read.data.last)
        m.d.comb += [self.chosen.p.keys.eq(keys), self.chosen.p.last.eq(ends)]
        m.d.sync += self.chosen.valid.eq(present)  # 7 + levels
        return m

    def _entry(self, m: Module, score: Value, key: Value) -> Value:
        """EXP[min(2·(maximum − score) >> shift, last index)], or 0 if there is no key, 3 cycles later."""
        widths, (low, high) = self.widths, self.shifts
        table = arithmetic.exp_table(1 << widths.exp_index, widths.exp, widths.exp_step)
        distance = streamed(m, (self.tiles.p.maximum - score)[: self.score_bits])
        shift = streamed(m, self.shift)
        beyond, index = Signal(), Signal(widths.exp_index, reset_less=True)
        with m.Switch(shift):
            for r in range(low, high + 1):
                with m.Case(r) if r < high else m.Default():
                    step = (distance << 1) >> r
                    m.d.comb += beyond.eq(step[len(index) :].any())
                    m.d.sync += index.eq(step)
        with m.If(beyond):
            m.d.sync += index.eq(len(table) - 1)
        return streamed(m, Mux(streamed(m, key, 2), Array(table)[index], 0))
