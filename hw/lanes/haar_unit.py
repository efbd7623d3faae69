"""The Haar unit: it walks through a tile of x in bank B, beside whatever the lanes do, and splits it."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.codes import SignMemory
from haarlequin.hw.common.pipeline import lane_groups, lane_words, registered, spread
from haarlequin.hw.common.thermometer import thermometer
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.lanes.haar import HaarSplit
from haarlequin.hw.lanes.loader import moves_layout
from haarlequin.hw.program import pass_layout


class HaarUnit(wiring.Component):
    """``lo`` and ``hi`` of a tile of x, `arithmetic.haar_split`, and the signs that Q and K take of them.

    ``begin`` comes with the ``parts`` of a pass: its fields ``haar_…``, ``keys`` (N), ``columns`` and
    ``jump`` count. A token takes two cycles. Token m is looked up 2·m cycles after ``begin``; so many cycles
    after its look-up

    =  ==========================================================================
    1  ``read`` is high with its ``address`` in bank B
    3  its ``x`` must be there, in a register
    =  ==========================================================================

    `WRITTEN` cycles after the look-up of token m + `HaarSplit.lead` token m's results come, lo first and hi
    a cycle later: ``valid`` with ``wide``, the ``wide_address`` in bank A and the ``number`` of the token. In
    the cycle before come its ``signs`` for both sign memories, with ``signs_valid``, ``signs_address`` and
    ``chunk``, because a sign memory takes a register more. ``phase`` is 1 with hi. ``clipped`` is how many
    values saturated, each once. All addresses are modulo their memory.

    The moves of a tile come with ``load``, lane 0's first (`lane_words`), before cycle `TAKEN` after its
    ``begin``; those of the next tile from that cycle on. A tile may begin 2·(N + lead) cycles after the one
    before, not earlier.
    """

    TAKEN = 4
    """Cycles from ``begin`` to the one in which the moves of the tile are taken."""

    WRITTEN = 4 + HaarSplit.LATENCY

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self._pass = pass_layout(config)
        lanes, wide = config.lanes, config.widths.wide
        self._splits = [HaarSplit(len(group), wide, config.max_columns) for group in lane_groups(lanes)]
        tokens = data.ArrayLayout(signed(wide), lanes)
        super().__init__(
            {
                "begin": In(1),
                "parts": In(self._pass),
                "load": In(1),
                "moves": In(moves_layout(config)),
                "read": Out(1),
                "address": Out(self._pass["haar_x"].shape),
                "x": In(tokens),
                "valid": Out(1),
                "phase": Out(1),
                "number": Out(self._pass["tokens"].shape),
                "wide_address": Out(self._pass["haar_low"].shape),
                "wide": Out(tokens),
                "signs_valid": Out(1),
                "signs_address": Out(self._pass["haar_signs"].shape),
                "chunk": Out(ceil_log2(config.chunks)),
                "signs": Out(data.ArrayLayout(lanes, len(SignMemory))),
                "clipped": Out(range(lanes + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes, parts = self.config.lanes, Signal(self._pass)
        enable, first, live = self._walk(m, parts)
        taken = registered(m, self.begin, self.TAKEN)
        moves = lane_words(m, self.moves, lanes, self.load, taken)
        due = Signal(self._pass)  # of the tile whose results come: the one before walks on for some cycles
        with m.If(registered(m, taken)):
            m.d.sync += due.eq(parts)
        for number, split in enumerate(self._splits):
            m.submodules[f"split_{number}"] = split

        # After its look-up a token is here in 1 cycle, in HaarSplit in 3, and its results come in 6.
        enables = spread(m, registered(m, enable), lanes)
        firsts, columns = spread(m, first, lanes), spread(m, parts.columns, lanes)
        counted = registered(m, thermometer(due.haar_lanes, lanes))
        low, high = [], []
        for split, group in zip(self._splits, lane_groups(lanes), strict=True):
            m.d.comb += [
                split.enable.eq(enables[group.start]),
                split.first.eq(firsts[group.start]),
                split.columns.eq(columns[group.start]),
                split.counted.eq(counted[group.start : group.stop]),
                *(split.x[place].eq(self.x[lane]) for place, lane in enumerate(group)),
            ]
            low += [split.lo[place] for place in range(len(group))]
            high += [split.hi[place] for place in range(len(group))]
        arrives = 2 + HaarSplit.LATENCY
        phase = registered(m, live & ~enable, arrives)  # a token's second cycle
        phases = spread(m, registered(m, live & ~enable, arrives - 1), lanes)
        for lane, (lo, hi, move, of_hi) in enumerate(zip(low, high, moves, phases, strict=True)):
            band = Mux(of_hi, hi, lo)
            m.d.sync += self.wide[lane].eq(band)
            for memory in SignMemory:
                one = Mux(of_hi, move[2 + memory], move[memory]).as_signed()
                m.d.comb += self.signs[memory][lane].eq(band + one >= 0)
        self._results(m, due, registered(m, taken), registered(m, live, arrives), phase)
        clipped = registered(m, enable & live, 2 + self._splits[0].clipped_latency)
        m.d.comb += self.clipped.eq(Mux(clipped, sum(split.clipped for split in self._splits), 0))
        return m

    def _walk(self, m: Module, parts: data.View) -> tuple[Value, Value, Value]:
        """Walk through the tile. Returns three flags of the token that is looked up: its first cycle, whether
        it is token 0 or N, and, in both of its cycles, whether it completes the window of an earlier one.
        """
        busy, second = Signal(), Signal()
        number, column = Signal(self.number.shape()), Signal(range(self.config.max_columns))
        lead = Signal(range(HaarSplit.lead(self.config.max_columns) + 1))  # tokens until the first result
        # For a token's second cycle, in which all counters move.
        ends_row = registered(m, column == parts.columns - 1)
        address = Signal.like(self.address)
        with m.If(self.begin):
            m.d.sync += [busy.eq(1), second.eq(0), number.eq(0), column.eq(0), parts.eq(self.parts)]
            m.d.sync += [address.eq(self.parts.haar_x), lead.eq(HaarSplit.lead(self.parts.columns))]
        with m.Elif(busy):
            m.d.sync += second.eq(~second)
            with m.If(second):
                m.d.sync += [number.eq(number + 1), column.eq(Mux(ends_row, 0, column + 1))]
                m.d.sync += address.eq(address + 1 + Mux(ends_row, parts.jump, 0))
                m.d.sync += lead.eq(lead - (lead != 0))
                m.d.sync += busy.eq(number != parts.keys + parts.columns)  # N + lead − 1
        enable = busy & ~second
        m.d.comb += [self.read.eq(enable), self.address.eq(address)]
        return enable, enable & ((number == 0) | (number == parts.keys)), busy & (lead == 0)

    def _results(self, m: Module, due: data.View, begins: Value, arrived: Value, phase: Value) -> None:
        """Where results go: ``arrived`` and their ``phase`` come with the signs. A tile's own ones come after
        its ``begins``.
        """
        number = Signal.like(self.number)
        with m.If(begins):
            m.d.sync += number.eq(0)
        with m.Elif(arrived & phase):
            m.d.sync += number.eq(number + 1)
        m.d.comb += [
            self.signs_valid.eq(arrived),
            self.signs_address.eq(due.haar_signs + number + Mux(phase, due.haar_signs_apart, 0)),
            self.chunk.eq(due.haar_chunk),
        ]
        m.d.sync += [
            self.valid.eq(arrived),
            self.phase.eq(phase),
            self.number.eq(number),
            self.wide_address.eq(due.haar_low + number + Mux(phase, due.haar_apart, 0)),
        ]
