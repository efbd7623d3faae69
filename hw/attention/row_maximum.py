"""The largest score of each row, while the scores are made."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.attention.tiles import tree, words
from haarlequin.hw.common.pipeline import registered, streamed
from haarlequin.hw.common.sizes import check_positive
from haarlequin.hw.common.sliced_memory import sized_memory


def maximum_latency(lanes: int) -> int:
    """Cycles from a tile of `RowMaximum` to the first query that sees it."""
    return 2 + ceil_log2(lanes)


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
        check_positive("RowMaximum", lanes=lanes, score_bits=score_bits, max_rows=max_rows)
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

        scores = zip(words(tile.scores, self.lanes), tile.keys, strict=True)
        largest = tree(m, [streamed(m, Mux(key, score, 0)) for score, key in scores], _larger)
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


def _larger(a: Value, b: Value) -> Value:
    return Mux(a > b, a, b)
