"""DIBA's local term: the binary depthwise convolution of V around each token, in every lane."""

from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.pipeline import registered
from haarlequin.hw.common.sizes import check_positive
from haarlequin.hw.lanes.line_buffer import LineBuffer
from haarlequin.hw.lanes.popcount import Popcount, popcount_latency


def convolution_latency(theta: int) -> int:
    """Cycles that a `LocalConvolution` takes."""
    return 1 + popcount_latency(theta**2) + 1


class LocalConvolution(wiring.Component):
    """``sum`` = `arithmetic.local_convolution` of ``v`` << ``local_shift`` in every lane, one token a cycle.

    ``v`` is a bit a lane, 1 for +1. Tokens come row by row, one in every cycle with ``enable`` high. The
    window around token i is complete when token i + `lead` is taken (its lower right corner); `latency`
    cycles later ``sum`` is token i's and ``centre`` its own bit, V_i, and both stay until as long after the
    next token.

    Bit θ·row + column of a lane's ``weights`` meets that tap of the window, bit (θ² − 1)/2 the token itself.
    Only the taps whose bit of ``taps`` is 1 count: a smaller convolution lies in the middle of a larger one,
    whose lead it keeps. Taps outside the grid count 0.

    ``columns`` (1 to ``max_columns``) comes a cycle before each token. ``weights``, ``taps`` and
    ``local_shift`` hold still from an image's first token to its last result. ``first`` comes a cycle before
    token 0 of an image and before the token behind its last, the next image's or filler: wherever a counter
    of tokens modulo N becomes 0. Behind the last image `lead` tokens of filler push its last windows out;
    their value does not matter. The grid's edges follow from where rows and images begin, so the rows need no
    counting.
    """

    def __init__(self, lanes: int, theta: int, max_columns: int, shift_bits: int):
        check_positive("LocalConvolution", lanes=lanes, max_columns=max_columns, shift_bits=shift_bits)
        if not (isinstance(theta, int) and theta in (1, 3, 5)):
            raise ValueError(f"LocalConvolution theta must be 1, 3 or 5, not {theta!r}")
        self.lanes = lanes
        self.theta = theta
        self.reach = theta // 2
        self.max_columns = max_columns
        self._ones = Popcount(theta**2)
        sum_bits = 1 + (theta**2).bit_length() + (1 << shift_bits) - 1
        super().__init__(
            {
                "enable": In(1),
                "first": In(1),
                "columns": In(range(max_columns + 1)),
                "v": In(lanes),
                "weights": In(data.ArrayLayout(theta**2, lanes)),
                "taps": In(theta**2),
                "local_shift": In(data.ArrayLayout(shift_bits, lanes)),
                "sum": Out(data.ArrayLayout(signed(sum_bits), lanes)),
                "centre": Out(lanes),
            }
        )

    def lead(self, columns: int) -> int:
        """Tokens by which the stream runs ahead of the one in the middle of the window."""
        return self.reach * (columns + 1)

    @property
    def latency(self) -> int:
        """Cycles from the token that completes a window to its ``sum``."""
        return convolution_latency(self.theta)

    def elaborate(self, platform):
        m = Module()
        window, mask = self._window(m)
        m.submodules.ones = ones = self._ones
        m.d.comb += ones.bits.eq(mask)
        for lane in range(self.lanes):
            m.submodules[f"agreements_{lane}"] = agreements = Popcount(self.theta**2)
            bits = Cat(tap[lane] for tap in window)
            m.d.comb += agreements.bits.eq(~(bits ^ self.weights[lane]) & mask)
            dot = (agreements.count << 1) - ones.count
            m.d.sync += self.sum[lane].eq(dot << self.local_shift[lane])
        centre = window[len(window) // 2]
        for _ in range(self.latency - 2):
            centre, earlier = Signal(self.lanes), centre
            m.d.sync += centre.eq(earlier)
        m.d.sync += self.centre.eq(centre)
        return m

    def _window(self, m: Module) -> tuple[list[Signal], Signal]:
        """A word of all lanes for each tap, and which taps count."""
        newest, inside = [self.v], Const(1)  # bottom row first
        if self.reach:
            lines = data.ArrayLayout(self.lanes, self.theta - 1)
            m.submodules.line = line = LineBuffer(lines, self.max_columns)
            m.d.comb += [
                line.enable.eq(self.enable),
                line.first.eq(self.first),
                line.columns.eq(self.columns),
                line.word.eq(Cat(self.v, line.above)),
            ]
            newest = [self.v, *(line.above[row] for row in range(self.theta - 1))]
            inside = self._inside(m, line.begins_row)
        window, mask = [Signal(self.lanes) for _ in range(self.theta**2)], Signal(self.theta**2)
        with m.If(self.enable):
            m.d.sync += mask.eq(inside & self.taps)
            for row, word in enumerate(reversed(newest)):
                taps = window[row * self.theta : (row + 1) * self.theta]
                m.d.sync += Cat(taps).eq(Cat(taps[1:], word))
        return window, mask

    def _inside(self, m: Module, begins_row: Value) -> Value:
        """Which taps of the window that is being completed lie on the grid of its middle one."""
        # Bit k of `columns`: the token k back begins a row. Bit k of `rows`: the row k above begins an image.
        columns = [Signal(self.theta - 1) for _ in range(2)]
        rows = [Signal(self.theta - 1) for _ in range(self.reach + 1)]
        m.d.comb += columns[0].eq(Cat(begins_row, columns[1]))
        first = registered(m, self.first)
        m.d.comb += rows[0].eq(Mux(begins_row, Cat(first, rows[1]), rows[1]))
        with m.If(self.enable):
            for history in (columns, rows):
                m.d.sync += [then.eq(now) for now, then in pairwise(history)]
        # The rows as they were when the column of the middle passed.
        return Cat(row & column for row in _joined(rows[-1]) for column in _joined(columns[0]))


def _joined(begins: Value) -> list[Value]:
    """For each place around the middle, oldest first: nothing begins between the two.

    Bit k of ``begins`` says whether the place k before the newest begins something.
    """
    reach = len(begins) // 2
    return [~begins[reach - max(i, 0) : reach - min(i, 0)].any() for i in range(-reach, reach + 1)]
