"""The sequencer: it runs the passes of the program, and issues the tokens of each pass."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.codes import OperationCode
from haarlequin.hw.common.pipeline import KEPT
from haarlequin.hw.common.tables import table_memories, table_ports
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.lanes.program_reader import read_passes
from haarlequin.hw.pass_fields import place_bits, token_bits
from haarlequin.hw.program import CONTEXTS, group_slices, pass_layout, update_layout

PARTS = 4
"""Parts of a pass that begin to be the present one by a register each."""


def token_layout(config: AcceleratorConfig) -> data.StructLayout:
    """The flags and numbers that go through the pipeline with a token."""
    return data.StructLayout(
        {
            "enable": 1,  # the token's first cycle
            "starts": 1,  # the first cycle of its pass
            "live": 1,  # the results of this cycle count
            "first": 1,  # token 0 of the grid, or the first one after the grid
            "edges": 4,  # it is in the first row of the grid, the last row, the first column, the last column
            "begins": 1,  # the pass's first live token
            "ends": 1,  # the pass's last live token
            "number": token_bits(config),
            # On the grid of which its own is a window; in a merge, of its results among the merged tokens.
            "place": place_bits(config),
            "moved": ceil_log2(config.chunks),  # by how many chunks a merge moves its signs
            "summed": 1,  # its results can be accumulated
            "context": range(CONTEXTS),
        }
    )


class Sequencer(wiring.Component):
    """Runs the program once for every image.

    A pass takes as many cycles as its field ``cycles`` says. That must be at least four more than the number
    of updates of the next pass, because these are read meanwhile, one per cycle, and because it takes four
    cycles until the program's first update comes again after its last. The program ends with the
    pass that has ``end``. Its first pass updates every group, so that nothing is left of what ran before.

    A pass with ``wait_head`` begins in the cycle after one with ``head_free`` high. The first pass of a
    program does not wait for the head, even if it has ``wait_head``. A pass with ``load_weights`` begins in
    the cycle after one with ``tile_ready`` high.

    The pass issues token m in its cycle m, or, with an ``interval`` of i, in its cycles (i + 1)·m to
    (i + 1)·m + i. Each pass takes the next context number, modulo `CONTEXTS`.

    Parameters
    ----------
    config : AcceleratorConfig
        The sizes of the machine.

    Members
    -------
    program : In(TableSignature)
        The host's side of the program memory. The host may use it only while no program runs.
    start : In(1)
        An image is waiting.
    head_free : In(1)
        The head can take the sums of this image.
    tile_ready : In(1)
        The weights that the next pass loads are here.
    next_loads : Out(1)
        The next pass is known, and loads weights.
    next_base : Out
        The address of these weights.
    next_begins : Out(1)
        High in the cycle before that pass begins.
    begin : Out(1)
        High in the cycle that takes the waiting image, which is the one before the first cycle of its
        program. If an image is waiting in the last cycle of a program, ``begin`` and ``done`` are high
        together, and images follow each other without a gap.
    done : Out(1)
        High in the last cycle of an image's program.
    holds_head : Out(1)
        High in the cycle before a pass with ``wait_head`` begins, except for the first pass of a program.
    current : Out(pass_layout(config))
        The present pass.
    index : Out(ceil_log2(config.program))
        The number of the present pass within the program.
    fresh : Out(1)
        High in the first cycle of a pass.
    token : Out(token_layout(config))
        The token of this cycle. It is valid while its ``enable`` or ``live`` is high.
    place : Out
        The token's ``place`` before a merge moves it, which is known earlier in the cycle.
    operation : Out(OperationCode)
        The operation that this cycle counts for: the one of the present pass in as many cycles as that pass
        has; LATE in those in which only ``tile_ready`` is missing for the next pass of a program; WAITING in
        all others.
    """

    def __init__(self, config: AcceleratorConfig):
        self._config = config
        self._layout = pass_layout(config)
        self._token = token_layout(config)
        self._tables = {"program": (update_layout(config), config.program)}
        super().__init__(
            table_ports(self._tables)
            | {
                "start": In(1),
                "head_free": In(1),
                "tile_ready": In(1),
                "next_loads": Out(1),
                "next_base": Out(self._layout["weights_base"].shape),
                "next_begins": Out(1),
                "begin": Out(1),
                "done": Out(1),
                "holds_head": Out(1),
                "current": Out(self._layout),
                "index": Out(ceil_log2(config.program)),
                "fresh": Out(1),
                "token": Out(self._token),
                "place": Out(self._token["place"].shape),
                "operation": Out(OperationCode),
            }
        )

    def elaborate(self, platform):
        m = Module()
        current, token = self.current, self.token
        running, ready, final, load, free, has_tile = (Signal() for _ in range(6))
        left = Signal(range(1 << len(current.cycles)))  # cycles before the last one
        # Whether there is none left: a register for what is decided, and one for each part of the next pass,
        # as wires to all of its bits took 7.5 ns.
        due, *dues = (Signal(name=f"{KEPT}{part}") for part in range(1 + PARTS))
        goes = Signal()  # a pass begins as soon as it is due
        (program,) = table_memories(m, self, self._tables)
        # The host may have changed the program, so its first pass is read again.
        touched = self.program.en | self.program.read
        following, complete = read_passes(m, self._config, program, touched, load)
        m.d.comb += [
            ready.eq(~running | due),
            final.eq(~running | current.end),
            # Only the first pass can be incomplete here: the compiler makes every pass long enough to read
            # the next one.
            has_tile.eq(self.tile_ready | ~following.load_weights),
            goes.eq(Mux(final, self.start & complete, free) & has_tile),
            self.begin.eq(ready & goes & final),
            free.eq(self.head_free | ~following.wait_head),
            load.eq(ready & goes),
            self.next_loads.eq(complete & following.load_weights),
            self.next_base.eq(following.weights_base),
            self.next_begins.eq(load & following.load_weights),
            self.holds_head.eq(load & ~final & following.wait_head),
            self.done.eq(running & ready & current.end),
            self.operation.eq(
                Mux(
                    running & (load | ~ready | current.end),
                    current.operation,
                    Mux(running & free, OperationCode.LATE, OperationCode.WAITING),
                )
            ),
        ]
        m.d.sync += self.fresh.eq(load)
        with m.If(load):
            m.d.sync += [
                running.eq(1),
                self.index.eq(Mux(self.begin, 0, self.index + 1)),
                left.eq(following.cycles - 2),
                Cat(due, dues).eq(0),
            ]
        with m.Else():
            # After the last cycle ``left`` has no meaning, and the pass stays due.
            m.d.sync += left.eq(left - 1)
            with m.If(left == 0):
                m.d.sync += Cat(due, dues).eq(~0)
            with m.If(self.done):
                m.d.sync += running.eq(0)
        for number, part in enumerate(group_slices(self._config)):
            with m.If((~running | dues[number % PARTS]) & goes):
                m.d.sync += current.as_value()[part].eq(following.as_value()[part])

        active, held, live, number = Signal(), Signal(), Signal(), token.number
        # ``ends``, that this cycle is its token's last, and the last live token come out of registers.
        waited, ends = Signal.like(current.interval), Signal()
        grid_end, last_live = Signal.like(number), Signal.like(number)
        m.d.comb += [
            live.eq(active & (number >= current.skip) & (number < current.stop)),
            token.enable.eq(active & ~held),
            token.starts.eq(active & self.fresh),
            token.live.eq(live & ~held),
            token.first.eq((number == 0) | (number == grid_end)),
            token.begins.eq(number == current.skip),
            token.ends.eq(number == last_live),
        ]
        with m.If(load):
            m.d.sync += [active.eq(following.tokens != 0), number.eq(0), held.eq(0), waited.eq(0)]
            m.d.sync += token.context.eq(token.context + 1)
            m.d.sync += [grid_end.eq(following.stop - following.skip), last_live.eq(following.stop - 1)]
            m.d.sync += ends.eq(following.interval == 0)
        with m.Elif(active):
            m.d.sync += [held.eq(~ends), number.eq(number + ends)]
            m.d.sync += waited.eq(Mux(ends, 0, waited + 1))
            m.d.sync += ends.eq(Mux(ends, current.interval == 0, waited + 1 == current.interval))
            m.d.sync += active.eq(~ends | (number + 1 < current.tokens))
        self._walk(m, load, active & ends, following)
        return m

    def _walk(self, m: Module, load: Signal, step: Value, following: data.View) -> None:
        """The place of a token on the grid, and that of its results."""
        current, token = self.current, self.token
        column, odd_row, first_row = Signal(range(self._config.max_columns)), Signal(), Signal()
        last_row_from = Signal.like(token.number)  # the first token of the last row
        # On the grid of which these tokens are a window, or among the merged tokens.
        row_place, place = Signal.like(token.place), self.place
        odd_column, last_column, ends_row = column[0], Signal(len(column) + 1), Signal()
        m.d.comb += ends_row.eq(column == last_column)
        with m.If(load):
            m.d.sync += [column.eq(0), odd_row.eq(0), first_row.eq(1), row_place.eq(0), place.eq(0)]
            m.d.sync += last_column.eq(following.columns - 1)
            m.d.sync += last_row_from.eq(following.stop - following.columns)
        with m.Elif(step & ends_row):
            m.d.sync += [column.eq(0), odd_row.eq(~odd_row), first_row.eq(0)]
            merged = Mux(odd_row, place + 1, row_place)  # the next two rows' first, or these two rows'
            m.d.sync += [row_place.eq(merged), place.eq(Mux(current.merge, merged, place + current.jump + 1))]
        with m.Elif(step):
            m.d.sync += [column.eq(column + 1), place.eq(place + (odd_column | ~current.merge))]
        moved_words = Mux(odd_row, current.odd_row, 0) + Mux(odd_column, current.odd_column, 0)
        moved_chunks = Mux(odd_row, current.chunk_row, 0) + Mux(odd_column, current.chunk_column, 0)
        m.d.comb += [
            token.edges.eq(Cat(first_row, token.number >= last_row_from, column == 0, ends_row)),
            token.place.eq(place + Mux(current.merge, moved_words, 0)),
            token.moved.eq(Mux(current.merge, moved_chunks, 0)),
            token.summed.eq(~current.merge | odd_row),
        ]
