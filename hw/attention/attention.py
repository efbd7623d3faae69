"""Attention from scores: walks through a head's rows in bank A and writes the rows of Â."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.attention.softmax import BinarySoftmax, softmax_latency
from haarlequin.hw.common.pipeline import registered, streamed
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.program import pass_layout


def attention_latency(lanes: int) -> int:
    """Cycles from the look-up of a row's last tile to its first result."""
    return 4 + softmax_latency(lanes)


class Attention(wiring.Component):
    """Â of one head, a tile of `lanes` keys a cycle: `arithmetic.binarise_softmax` of scores in bank A.

    ``begin`` comes with the ``parts`` of a pass, of which its bases, its sizes, ``softmax_row``,
    ``score_shift`` and ``threshold`` count.
    The look-up of row i's tile j is i·``key_tiles`` + j cycles behind. Cycles behind a look-up:

    =  ==========================================================================
    1  ``read`` is high with ``address``, scores_base + j·N + i
    2  ``query`` is softmax_row + i
    3  its ``scores`` and its ``maximum`` must be there
    =  ==========================================================================

    Scores are halves in two's complement, lane 0 lowest, so that S = 2·P + a constant for the unsigned P that
    the softmax and its maxima take. ``keys`` is N, the number of rows; the last of a row's ``key_tiles`` has
    a key in its first ``key_lanes`` lanes and may hold anything in the others.

    Results come in the same order: ``valid`` with the word's ``row_address``, the ``chunk`` of it and its
    ``chosen`` bits; a row's first `latency` cycles behind its last look-up, the others right behind. A row of
    Â begins at chunk ``key_chunk`` of its first word, attention_base + i, and goes on at chunk 0 of
    attention_base + N + i. All addresses are modulo their memory.

    A head may begin beside the last result of the one before, not earlier.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self._pass = pass_layout(config)
        lanes, wide = config.lanes, config.widths.wide
        self._tiles = -(-config.keys // lanes)
        self._softmax = BinarySoftmax(lanes, config.widths, self._tiles, wide)
        self._chunks = config.width // lanes
        super().__init__(
            {
                "begin": In(1),
                "parts": In(self._pass),
                "read": Out(1),
                "address": Out(self._pass["scores_base"].shape),
                "scores": In(lanes * wide),
                "query": Out(self._pass["softmax_row"].shape),
                "maximum": In(wide),
                "valid": Out(1),
                "row_address": Out(self._pass["attention_base"].shape),
                "chunk": Out(self._pass["bits_chunk"].shape),
                "chosen": Out(lanes),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the look-up of a row's last tile to its first result."""
        return attention_latency(self.config.lanes)

    def elaborate(self, platform):
        m = Module()
        m.submodules.softmax = softmax = self._softmax
        parts, busy = Signal(self._pass), Signal()
        row, tile = Signal(range(self.config.keys)), Signal.like(parts.key_tiles)
        row_start = Signal.like(self.address)
        last = Signal()  # whether this is the row's last tile: a register, as all counters wait for it
        with m.If(self.begin):
            m.d.sync += [busy.eq(1), row.eq(0), tile.eq(0), parts.eq(self.parts)]
            m.d.sync += last.eq(self.parts.key_tiles == 1)
            m.d.sync += [self.address.eq(self.parts.scores_base), row_start.eq(self.parts.scores_base)]
        with m.Elif(busy & last):
            m.d.sync += [tile.eq(0), row.eq(row + 1), busy.eq(row != parts.keys - 1)]
            m.d.sync += last.eq(parts.key_tiles == 1)
            m.d.sync += [self.address.eq(row_start + 1), row_start.eq(row_start + 1)]
        with m.Elif(busy):
            m.d.sync += last.eq(tile + 2 == parts.key_tiles)
            m.d.sync += [tile.eq(tile + 1), self.address.eq(self.address + parts.keys)]
        m.d.comb += self.read.eq(busy)
        m.d.sync += self.query.eq(parts.softmax_row + row)

        # The address is there a cycle behind the look-up, the word in a register three.
        scores = self.scores
        keys = Mux(registered(m, last, 2), ~((~0) << parts.key_lanes), ~0)
        wide, lanes = self.config.widths.wide, self.config.lanes
        m.d.comb += [
            softmax.tiles.valid.eq(registered(m, busy, 2)),
            softmax.tiles.p.scores.eq(scores ^ sum(1 << (wide * lane + wide - 1) for lane in range(lanes))),
            softmax.tiles.p.maximum.eq(self.maximum),
            softmax.tiles.p.keys.eq(keys),
            softmax.tiles.p.last.eq(registered(m, last, 2)),
            softmax.shift.eq(parts.score_shift),
            softmax.threshold.eq(registered(m, parts.threshold, 2)),
        ]

        # Where the next result goes. It waits in registers, because the memory of signs is far away.
        chosen, chunk, word = softmax.chosen, Signal.like(self.chunk), Signal.like(self.row_address)
        done_row = Signal.like(self.row_address)
        m.d.sync += self.valid.eq(chosen.valid)
        m.d.comb += [
            self.chosen.eq(streamed(m, chosen.p.keys)),
            self.chunk.eq(streamed(m, chunk)),
            self.row_address.eq(streamed(m, word)),
        ]
        with m.If(self.begin):
            m.d.sync += [word.eq(self.parts.attention_base), done_row.eq(self.parts.attention_base)]
            m.d.sync += chunk.eq(self.parts.key_chunk)
        with m.Elif(chosen.valid & chosen.p.last):
            m.d.sync += [word.eq(done_row + 1), done_row.eq(done_row + 1), chunk.eq(parts.key_chunk)]
        with m.Elif(chosen.valid):
            m.d.sync += chunk.eq(chunk + 1)
            with m.If(chunk == self._chunks - 1):
                m.d.sync += [word.eq(word + parts.keys), chunk.eq(0)]
        return m
