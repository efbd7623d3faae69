"""One row of the token grid kept back, so that a token meets the one above it."""

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.sizes import check_positive


class LineBuffer(wiring.Component):
    """``above`` = the ``word`` of ``columns`` tokens ago, and where a row begins.

    Tokens come row by row, one in every cycle with ``enable`` high; while it is low everything holds.
    ``columns`` (1 to ``max_columns``) is the width of the grid, comes a cycle before each token and holds
    still while an image passes.
    ``first`` comes a cycle before token 0 of an image, and before the token behind its last, the next image's
    or filler; between them the buffer counts. ``above`` and ``begins_row`` (the token is its row's first)
    belong to the token that is being taken, in the same cycle; above an image's first row lies nothing of its
    own.

    The column is a register, and so is ``begins_row``, as from them go wires to every lane;
    ``next_begins_row`` is what it will be in the next cycle.

    The memory is read asynchronously where it is written: distributed RAM, sixteen columns a cell on ECP5.
    """

    def __init__(self, shape: ShapeLike, max_columns: int):
        check_positive("LineBuffer", max_columns=max_columns)
        self.max_columns = max_columns
        super().__init__(
            {
                "enable": In(1),
                "first": In(1),
                "columns": In(range(max_columns + 1)),
                "word": In(shape),
                "above": Out(shape),
                "next_begins_row": Out(1),
                "begins_row": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        shape = self.signature.members["word"].shape
        m.submodules.memory = memory = Memory(shape=shape, depth=self.max_columns, init=[])
        read, write = memory.read_port(domain="comb"), memory.write_port()

        # Of the token at hand, of the one behind the last that was taken, and of the one in the next cycle.
        column, kept, following = (Signal(range(self.max_columns)) for _ in range(3))
        last, ends, begins, kept_begins = Signal.like(column), Signal(), Signal(), Signal(init=1)
        m.d.sync += [last.eq(self.columns - 1), kept_begins.eq(begins)]
        m.d.comb += [
            ends.eq(column == last),
            following.eq(Mux(self.enable, Mux(ends, 0, column + 1), kept)),
            begins.eq(Mux(self.enable, ends, kept_begins)),  # whether ``following`` is 0
            self.next_begins_row.eq(self.first | begins),
            read.addr.eq(column),
            self.above.eq(read.data),
            write.addr.eq(column),
            write.data.eq(self.word),
            write.en.eq(self.enable),
        ]
        m.d.sync += [
            kept.eq(following),
            column.eq(Mux(self.first, 0, following)),
            self.begins_row.eq(self.next_begins_row),
        ]
        return m
