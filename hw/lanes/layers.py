"""The layers of an image: lanes, banks and sign memories, in one pipeline after the sequencer.

Every part of a pass happens to a token at a fixed stage, a number of cycles after its issue (`hw.timing`).
"""

from amaranth.hdl import Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.attention.attention import Attention
from haarlequin.hw.common.pipeline import registered
from haarlequin.hw.common.tables import table_memories, table_ports
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.lanes.blocks import Blocks
from haarlequin.hw.lanes.fetch import give_signs, load, look_up, wait_for_tiles
from haarlequin.hw.lanes.haar_unit import HaarUnit
from haarlequin.hw.lanes.token_pipe import TokenPipe
from haarlequin.hw.lanes.trace import trace_layout
from haarlequin.hw.lanes.write_back import count_saturations, write_results, write_signs
from haarlequin.hw.program import pass_layout
from haarlequin.hw.settings import settings_layout
from haarlequin.hw.timing import timing


class Layers(wiring.Component):
    """Runs the program for one image after the other.

    ``start`` … ``operation`` are the `Sequencer`'s. A word of x that the embedding has made goes into bank B
    through ``x_valid``, ``x_ready``, ``x_address`` and ``x``; ``region`` says which half of the bank the
    image at hand lies in. ``sums`` are the pooled ones, always taken. ``clipped`` counts the saturations of
    the image at hand, complete with ``done``.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config, self.stages = config, timing(config)
        self._pass = pass_layout(config)
        self._blocks = blocks = Blocks(config)
        w, sequencer = config.widths, blocks.sequencer.signature.members
        self._tables = {"token_table": (signed(w.offset), config.tokens)}
        names = ("start", "head_free", "begin", "done", "operation", "holds_head")
        super().__init__(
            table_ports(self._tables)
            | {name: sequencer[name] for name in names}
            | {
                "settings": In(settings_layout(config)),
                "region": In(1),
                "x_valid": In(1),
                "x_ready": Out(1),
                "x_address": In(ceil_log2(config.bank_b)),
                "x": In(data.ArrayLayout(signed(w.wide), config.lanes)),
                "sums": Out(blocks.pool.signature.members["sums"].signature),
                "clipped": Out(32),
                "trace": Out(trace_layout(config)),
            }
        )
        self.tables = {
            "program": blocks.sequencer.program,
            "weights": (blocks.store or blocks.loader).weights_table,
            "constants": blocks.loader.constants_table,
            "local": blocks.loader.local_table,
            "tokens": self.token_table,
        }
        """Ports of the memories that the host fills."""

    def elaborate(self, platform):
        m = Module()
        blocks, sequencer = self._blocks, self._blocks.sequencer
        blocks.add(m)
        for name in ("start", "head_free"):
            m.d.comb += getattr(sequencer, name).eq(getattr(self, name))
        for name in ("begin", "done", "operation", "holds_head"):
            m.d.comb += getattr(self, name).eq(getattr(sequencer, name))
        pipe = TokenPipe(m, self.config, sequencer, self.stages.write)
        (token,) = table_memories(m, self, self._tables)
        load(m, blocks, pipe)
        wait_for_tiles(m, blocks)
        give_signs(m, blocks, pipe, self.settings.taps)
        look_up(m, blocks, pipe, self.region, token)
        stored, part, counted = write_results(m, blocks, pipe)
        wiring.connect(m, blocks.pool.sums, wiring.flipped(self.sums))
        write_signs(m, blocks, pipe, part)
        count_saturations(m, blocks, counted, self.begin, self.clipped)
        self._trace(m, pipe, stored, part)
        self._units(m)
        return m

    def _trace(self, m: Module, pipe: TokenPipe, stored: Signal, part: data.View) -> None:
        """Show a verifier what the passes do, and their results."""
        blocks, stages, array = self._blocks, self.stages, self._blocks.array
        trace, acc, after = self.trace, pipe[stages.acc], pipe[stages.write]
        sequencer, operation = blocks.sequencer, blocks.sequencer.operation
        m.d.comb += [
            trace.issue_valid.eq(sequencer.fresh | (operation != registered(m, operation))),
            trace.issue_pass.eq(sequencer.index),
            trace.issue_operation.eq(operation),
            trace.issue_begins.eq(sequencer.fresh),
            trace.load_valid.eq(blocks.loader.begin),
            trace.load_pass.eq(sequencer.index),  # the loader takes the fields of the present pass
            trace.acc_valid.eq(acc.live),
            trace.acc_pass.eq(pipe.fields(stages.acc, "index").index),
            trace.acc_number.eq(acc.number),
            trace.acc.eq(array.acc),
            trace.result_valid.eq(after.live),
            trace.result_pass.eq(registered(m, part.index)),
            trace.result_number.eq(after.number),
            trace.y.eq(registered(m, Value.cast(array.y))),
            trace.stored.eq(stored),
            trace.bits_0.eq(blocks.signs.written_0),
            trace.bits_1.eq(blocks.signs.written_1),
        ]

    def _units(self, m: Module) -> None:
        """The units that read and write the banks beside the passes, and what a verifier sees of them."""
        blocks, trace = self._blocks, self.trace
        attention, maximum, haar, banks = blocks.attention, blocks.maximum, blocks.haar, blocks.banks
        split = self._begin(m, "haar", haar, self.stages.haar)
        scored = self._begin(m, "softmax", attention, self.stages.softmax)
        m.d.comb += [
            banks.haar.valid.eq(haar.read),
            banks.haar.address.eq(haar.address),
            haar.x.eq(banks.x),
            banks.splits.eq(haar.signs_valid),
            banks.split.valid.eq(haar.valid),
            banks.split.address.eq(haar.wide_address),
            banks.band.eq(haar.wide),
            banks.attention.valid.eq(attention.read),
            banks.attention.address.eq(attention.address),
            attention.scores.eq(banks.scores),
            maximum.query.eq(attention.query),
            attention.maximum.eq(maximum.maximum),
            banks.x_valid.eq(self.x_valid),
            self.x_ready.eq(banks.x_ready),
            banks.x_address.eq(self.x_address),
            banks.x_word.eq(self.x),
            trace.haar_valid.eq(haar.valid),
            trace.haar_pass.eq(registered(m, split, HaarUnit.WRITTEN - 1)),  # still the tile before's
            trace.haar_number.eq(haar.number),
            trace.haar_phase.eq(haar.phase),
            trace.haar.eq(haar.wide),
            trace.attention_valid.eq(attention.valid),
            trace.attention_pass.eq(scored),
            trace.attention_address.eq(attention.row_address),
            trace.attention_chunk.eq(attention.chunk),
            trace.attention.eq(attention.chosen),
        ]

    def _begin(self, m: Module, field: str, unit: HaarUnit | Attention, stage: int) -> Signal:
        """Let a unit begin at a stage of each pass that has its ``field``. Returns the number of the pass
        whose results the unit shows.
        """
        sequencer = self._blocks.sequencer
        begin = sequencer.fresh & sequencer.current[field]
        parts, index = Signal(self._pass), Signal.like(sequencer.index)
        shown = Signal.like(index)
        with m.If(begin):
            m.d.sync += [parts.eq(sequencer.current), index.eq(sequencer.index)]
        with m.If(unit.begin):
            m.d.sync += shown.eq(index)
        m.d.comb += [unit.begin.eq(registered(m, begin, stage)), unit.parts.eq(parts)]
        return shown
