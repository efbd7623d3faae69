"""The binary softmax, without division: each row's largest score, then the keys that pass its threshold."""

from collections.abc import Callable, Sequence

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.common.pipeline import registered, streamed
from haarlequin.hw.common.tables import sized_memory
from haarlequin.models import arithmetic
from haarlequin.models.widths import Widths

SHIFTS = (2, 5)
"""The lowest and the highest shift r of the EXP index, for heads of 1 to 64 channels."""


def maximum_latency(lanes: int) -> int:
    """Cycles from a tile of `RowMaximum` to the first query that sees it."""
    return 2 + ceil_log2(lanes)


def softmax_latency(lanes: int) -> int:
    """Cycles from the last tile of a row into `BinarySoftmax` to the first tile of the row out of it."""
    return 7 + ceil_log2(lanes)


class RowMaximum(wiring.Component):
    """Finds the largest score max_j P_ij of each row i while the scores are made.

    It takes one tile per cycle, that is the scores of ``lanes`` keys of one row. Tiles of one row may follow
    one another at any distance, even in consecutive cycles.

    Parameters
    ----------
    lanes : int
        Keys of a tile.
    score_bits : int
        The width of a score.
    max_rows : int
        The number of rows whose maximum is kept.

    Members
    -------
    tiles : In(stream.Signature, always_ready)
        The tiles. A payload has ``scores``, unsigned, with lane 0 lowest; ``keys``, one bit for each lane,
        which is 1 if the lane has a key; ``row``; and ``first`` for the first tile of a row, which starts its
        maximum anew.
    query : In(range(max_rows))
        The row whose maximum is asked for.
    maximum : Out(score_bits)
        The maximum of the row that ``query`` named in the cycle before. It covers the tiles that came at
        least `latency` cycles before the query.
    """

    def __init__(self, lanes: int, score_bits: int, max_rows: int):
        _check_positive("RowMaximum", lanes=lanes, score_bits=score_bits, max_rows=max_rows)
        self.lanes = lanes
        self.score_bits = score_bits
        self.max_rows = max_rows
        tile = {"scores": lanes * score_bits, "keys": lanes, "row": range(max_rows), "first": 1}
        super().__init__(
            {
                "tiles": In(stream.Signature(data.StructLayout(tile), always_ready=True)),
                "query": In(range(max_rows)),
                "maximum": Out(score_bits),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from a tile to the first query that sees it: 2 + ⌈log2 lanes⌉."""
        return maximum_latency(self.lanes)

    def elaborate(self, platform):
        m = Module()
        tile = self.tiles.p
        m.submodules.memory = rows = sized_memory(self.score_bits, self.max_rows)
        write = rows.write_port()
        # The read ports are transparent: the row's next tile may need what this cycle writes.
        running, answer = (rows.read_port(transparent_for=[write]) for _ in range(2))

        scores = zip(_words(tile.scores, self.lanes), tile.keys, strict=True)
        largest = _tree(m, [streamed(m, Mux(key, score, 0)) for score, key in scores], _larger)
        levels = self.latency - 1  # after so many cycles ``largest`` is there
        row, valid = streamed(m, tile.row, levels - 1), registered(m, self.tiles.valid, levels)
        first = streamed(m, tile.first, levels)
        m.d.comb += running.addr.eq(row)
        # What is written waits in a register. The next tile may be of the same row, and takes it from there.
        here = streamed(m, row)
        same = registered(m, valid & (row == here))
        data = Signal(self.score_bits, reset_less=True)
        before = Mux(same, data, running.data)
        m.d.sync += data.eq(Mux(first | (largest > before), largest, before))
        m.d.comb += [
            write.addr.eq(streamed(m, here)),
            write.data.eq(data),
            write.en.eq(registered(m, valid)),
            answer.addr.eq(self.query),
            self.maximum.eq(answer.data),
        ]
        return m


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
        _check_positive("BinarySoftmax", lanes=lanes, max_tiles=max_tiles, score_bits=score_bits)
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
        scores = zip(_words(tile.scores, self.lanes), tile.keys, strict=True)
        entries = [self._entry(m, score, key) for score, key in scores]  # 3 cycles after the tile
        strobe, last = registered(m, self.tiles.valid, 3), streamed(m, tile.last, 3)

        # The memory holds the tiles of a row, and those that come before the bound of the row is known.
        depth = 1 << ceil_log2(self.max_tiles + levels + 2)
        word = data.StructLayout({"entries": self.lanes * widths.exp, "last": 1})
        m.submodules.memory = memory = Memory(shape=word, depth=depth, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [write.data.entries.eq(Cat(entries)), write.data.last.eq(last), write.en.eq(strobe)]
        m.d.sync += write.addr.eq(write.addr + strobe)

        total = _tree(m, entries, lambda a, b: a + b)  # 3 + levels
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
        passed = [(entry >= bound) & ~none for entry in _words(read.data.entries, self.lanes)]
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


def _check_positive(block: str, **arguments: object) -> None:
    for name, value in arguments.items():
        if not (isinstance(value, int) and value >= 1):
            raise ValueError(f"{block} {name} must be a positive integer, not {value!r}")


def _words(value: Value, count: int) -> list[Value]:
    """``value``, cut into ``count`` words of the same width, the lowest first.

    This is not an `ArrayLayout`, because Amaranth would call its elements ``scores[0]``. The abc9 of yosys
    0.70 takes that for a bit of ``scores`` and stops.
    """
    width = len(value) // count
    return [value.word_select(i, width) for i in range(count)]


def _larger(a: Value, b: Value) -> Value:
    return Mux(a > b, a, b)


def _tree(m: Module, values: Sequence[Value], join: Callable[[Value, Value], Value]) -> Value:
    """All values joined pair by pair into one, ⌈log2⌉ of their number cycles later."""
    while len(values) > 1:
        pairs = [streamed(m, join(a, b)) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = pairs + [streamed(m, value) for value in values[2 * len(pairs) :]]
    return values[0]
