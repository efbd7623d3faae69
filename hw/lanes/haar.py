"""The Haar split of the token grid, in every lane, behind whatever writes x."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.pipeline import streamed
from haarlequin.hw.common.sizes import check_positive
from haarlequin.hw.lanes.line_buffer import LineBuffer
from haarlequin.hw.lanes.popcount import Popcount
from haarlequin.hw.lanes.postprocess import saturate


class HaarSplit(wiring.Component):
    """``lo`` and ``hi`` = `arithmetic.haar_split` of ``x`` in every lane, one token of all lanes a cycle.

    Tokens come row by row, one in every cycle with ``enable`` high. The window of token i is complete when
    token i + `lead` is taken (its lower right neighbour); `LATENCY` cycles later ``lo`` and ``hi`` are token
    i's, and stay until as long after the next token. ``clipped``, the number of lanes whose hi saturated,
    comes `clipped_latency` cycles behind that same token and stays likewise: add it up once a token. It
    counts the lanes that are 1 in ``counted`` a cycle before ``hi``.

    ``columns`` (1 to ``max_columns``) comes a cycle before each token. ``first``
    comes a cycle before token 0 of an image and before the token behind its last, the next image's or filler:
    wherever a counter of tokens modulo N becomes 0. Behind the last image `lead` tokens of filler push its
    last windows out; their value does not matter. The grid's edges follow from where rows and images begin,
    so the rows need no counting.
    """

    LATENCY = 3

    def __init__(self, lanes: int, wide: int, max_columns: int):
        check_positive("HaarSplit", lanes=lanes, wide=wide, max_columns=max_columns)
        self.lanes = lanes
        self.wide = wide
        self._tokens = data.ArrayLayout(signed(wide), lanes)
        self._line = LineBuffer(self._tokens, max_columns)
        self._clips = Popcount(lanes)
        super().__init__(
            {
                "enable": In(1),
                "first": In(1),
                "columns": In(range(max_columns + 1)),
                "x": In(self._tokens),
                "counted": In(lanes),
                "lo": Out(self._tokens),
                "hi": Out(self._tokens),
                "clipped": Out(range(lanes + 1)),
            }
        )

    @staticmethod
    def lead(columns: int) -> int:
        """Tokens by which the stream runs ahead of the one whose window it completes."""
        return columns + 1

    @property
    def clipped_latency(self) -> int:
        """Cycles from the token that completes a window to its ``clipped``."""
        return self.LATENCY + self._clips.latency

    def elaborate(self, platform):
        m = Module()
        m.submodules.line, m.submodules.clips = line, clips = self._line, self._clips
        m.d.comb += [
            line.enable.eq(self.enable),
            line.first.eq(self.first),
            line.columns.eq(self.columns),
            line.word.eq(self.x),
            self.clipped.eq(clips.count),
        ]

        # Above a token of an image's first row lies a last row, left of one that begins a row a last column.
        first_row, last_was, was, right_edge = (Signal() for _ in range(4))
        m.d.comb += was.eq(Mux(self.enable, first_row, last_was))
        # `was` is the last taken token's, this cycle's too; `first_row` a register, as it goes to every lane.
        m.d.sync += [last_was.eq(was), first_row.eq(Mux(line.next_begins_row, self.first, was))]
        with m.If(self.enable):
            m.d.sync += right_edge.eq(line.begins_row)

        clipped = Signal(self.lanes)
        m.d.sync += clips.bits.eq(clipped & self.counted)
        for lane in range(self.lanes):
            self._split(m, lane, first_row, right_edge, clipped[lane])
        return m

    def _split(self, m: Module, lane: int, first_row: Signal, right_edge: Signal, clipped: Signal):
        above, below = self._line.above[lane], self.x[lane]
        right, left = (
            Signal(signed(self.wide + 1), reset_less=True) for _ in range(2)
        )  # the window's columns
        top_right, top_left = (Signal(signed(self.wide), reset_less=True) for _ in range(2))
        with m.If(self.enable):
            m.d.sync += [right.eq(above + Mux(first_row, above, below)), left.eq(right)]  # 1
            m.d.sync += [top_right.eq(above), top_left.eq(top_right)]
        lo = streamed(m, ((left + Mux(right_edge, left, right)) >> 2)[: self.wide].as_signed())  # 2
        hi = saturate(m, streamed(m, top_left) - lo, self.wide, clipped)
        m.d.comb += [self.lo[lane].eq(streamed(m, lo)), self.hi[lane].eq(streamed(m, hi))]  # 3
