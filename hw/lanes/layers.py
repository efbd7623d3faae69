"""The layers of an image: lanes, banks and sign memories, in one pipeline after the sequencer.

Every part of a pass happens to a token at a fixed stage, a number of cycles after its issue (`hw.timing`).
"""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.attention.attention import Attention
from haarlequin.hw.attention.softmax import RowMaximum
from haarlequin.hw.codes import Operand, SignMemory
from haarlequin.hw.common.pipeline import registered, spread, streamed
from haarlequin.hw.common.tables import table_memories, table_ports
from haarlequin.hw.common.thermometer import thermometer
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.ends.pool import Pool
from haarlequin.hw.lanes.banks import Banks
from haarlequin.hw.lanes.haar_unit import HaarUnit
from haarlequin.hw.lanes.lane_array import LaneArray
from haarlequin.hw.lanes.loader import Loader
from haarlequin.hw.lanes.local_convolution import convolution_latency
from haarlequin.hw.lanes.local_unit import LocalUnit
from haarlequin.hw.lanes.operand import SignOperand
from haarlequin.hw.lanes.popcount import Popcount
from haarlequin.hw.lanes.sequencer import Sequencer
from haarlequin.hw.lanes.sign_memories import SignMemories
from haarlequin.hw.lanes.tile_buffer import TileBuffer
from haarlequin.hw.lanes.token_pipe import TokenPipe
from haarlequin.hw.lanes.trace import trace_layout
from haarlequin.hw.lanes.weight_store import WeightStore
from haarlequin.hw.program import pass_layout, settings_layout
from haarlequin.hw.timing import timing

RESULT_FIELDS = (
    *("lanes", "count", "index", "merge", "place_b", "place_out"),
    *("write_a", "write_b", "write_c", "base_a", "base_b"),
    *("bits_0", "bits_1", "window", "pairs"),
    *("maximum", "row_base", "first_keys", "pool", "each"),
)
"""Fields that say what is done with the results of a pass."""


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
        w, lanes, stages = config.widths, config.lanes, self.stages
        self._sequencer, self._loader = Sequencer(config), Loader(config)
        self._signs, self._operand, self._banks = SignMemories(config), SignOperand(config), Banks(config)
        self._array = LaneArray(lanes, config.width, config.value_bits, w)
        self._local = LocalUnit(
            config, stages.operands - 1 - stages.STREAM - convolution_latency(config.theta)
        )
        self._haar, self._attention = HaarUnit(config), Attention(config)
        self._store = WeightStore(config) if config.weight_interval else None
        self._maximum = RowMaximum(lanes, w.wide, config.rows)
        self._pool = Pool(lanes, w.wide, config.max_tokens)
        self._tables = {"token_table": (signed(w.offset), config.tokens)}
        sequencer = self._sequencer.signature.members
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
                "x": In(data.ArrayLayout(signed(w.wide), lanes)),
                "sums": Out(self._pool.signature.members["sums"].signature),
                "clipped": Out(32),
                "trace": Out(trace_layout(config)),
            }
        )
        self.tables = {
            "program": self._sequencer.program,
            "weights": (self._store or self._loader).weights_table,
            "constants": self._loader.constants_table,
            "local": self._loader.local_table,
            "tokens": self.token_table,
        }
        """Ports of the memories that the host fills."""

    def elaborate(self, platform):
        m = Module()
        blocks = "sequencer loader signs operand banks array local haar attention maximum pool"
        for name in blocks.split():
            m.submodules[name] = getattr(self, f"_{name}")
        for name in ("start", "head_free"):
            m.d.comb += getattr(self._sequencer, name).eq(getattr(self, name))
        for name in ("begin", "done", "operation", "holds_head"):
            m.d.comb += getattr(self, name).eq(getattr(self._sequencer, name))
        self._pipe = TokenPipe(m, self.config, self._sequencer, self.stages.write)
        self._loads(m)
        self._tiles(m)
        self._operands(m)
        self._look_ups(m)
        self._results(m)
        self._units(m)
        return m

    def _loads(self, m: Module) -> None:
        loader, array, signs, stages = self._loader, self._array, self._signs, self.stages
        current, fresh = self._sequencer.current, self._sequencer.fresh
        loads = current.load_weights | current.load_keys | current.load_constants | current.load_local
        m.d.comb += [
            loader.begin.eq(registered(m, fresh & loads, stages.load)),
            loader.parts.eq(current),
            signs.keys.eq(loader.keys),
            signs.key_address.eq(loader.key_address),
            loader.key.eq(signs.key),
            array.load.eq(loader.load),
            array.weights.eq(loader.weights),
            array.load_constants.eq(loader.load_constants),
            array.constants.eq(loader.constants),
            array.swap.eq(registered(m, fresh & current.swap, stages.activation - 1)),
            array.take.eq(self._pipe[stages.acc - 1].starts),
            self._local.load.eq(loader.load_local),
            self._local.local.eq(loader.local),
            self._local.take.eq(self._pipe[stages.STREAM - 1].starts),
            self._haar.load.eq(loader.load_moves),
            self._haar.moves.eq(loader.moves),
        ]

    def _tiles(self, m: Module) -> None:
        """Let a pass wait for weights that come from outside."""
        sequencer, loader = self._sequencer, self._loader
        if self._store is None:
            m.d.comb += sequencer.tile_ready.eq(1)
            return
        config, program, table = self.config, sequencer.program, self._store.weights_table
        m.submodules.store = self._store
        m.submodules.tiles = tiles = TileBuffer(config.lanes, config.width, range(config.weights))
        wiring.connect(m, tiles.request, self._store.request)
        wiring.connect(m, self._store.words, tiles.words)
        m.d.comb += [
            tiles.wanted.eq(sequencer.next_loads),
            tiles.base.eq(sequencer.next_base),
            tiles.taken.eq(sequencer.next_begins),
            sequencer.tile_ready.eq(tiles.ready),
            # The host may have changed what was fetched for the next image.
            tiles.stale.eq(program.en | program.read | table.en | table.read),
            tiles.lane.eq(loader.weights_lane),
            loader.weights_word.eq(tiles.word),
            tiles.loaded.eq(loader.weights_loaded),
        ]

    def _operands(self, m: Module) -> None:
        """Give the array signs, local convolution, gate and kind of sum: all but the words of banks."""
        array, operand, local, signs = self._array, self._operand, self._local, self._signs
        sequencer, stages, pipe, lanes = self._sequencer, self.stages, self._pipe, self.config.lanes
        place = Mux(sequencer.current.place_in, sequencer.place, sequencer.token.number)
        early = pipe.fields(stages.STREAM - 1, "inputs_low", "inputs_high", "above", "below", "left", "right")
        m.d.comb += [
            signs.read_0.eq(sequencer.current.signs_0 + place),
            signs.read_1.eq(sequencer.current.signs_1 + place),
            *(getattr(operand, name).eq(early[name]) for name in dict(early.shape())),
            operand.edges.eq(pipe[stages.STREAM - 1].edges),
            operand.source.eq(pipe.fields(stages.STREAM, "activation").activation),
            operand.word_0.eq(signs.word_0),
            operand.word_1.eq(signs.word_1),
            array.activation.eq(streamed(m, operand.activation, stages.activation - stages.STREAM)),
        ]
        part = pipe.fields(stages.STREAM - 1, "differential", "local")
        m.d.comb += [
            local.enable.eq(pipe[stages.STREAM - 1].enable & (part.differential | part.local)),
            local.first.eq(pipe[stages.STREAM - 2].first),
            local.columns.eq(pipe.fields(stages.STREAM - 2, "columns").columns),
            local.taps.eq(self.settings.taps),
            local.v.eq(signs.word_1.word_select(pipe.fields(stages.STREAM, "chunk").chunk, lanes)),
            array.centre.eq(local.centre),
            array.extra.eq(local.extra),
        ]
        part = pipe.fields(
            *(stages.operands - 2, "gate_low", "gate_high", "context", "differential", "local"),
            *("inputs_low", "inputs_high"),
        )
        gate = thermometer(part.gate_high, lanes) & ~thermometer(part.gate_low, lanes)
        m.d.comb += [
            local.joins.eq(part.local),
            array.gate.eq(streamed(m, gate)),
            array.context.eq(part.context),
            array.differential.eq(part.differential),
            array.balance.eq(part.inputs_high[0] - part.inputs_low[0]),  # `loader.balance`
        ]

    def _look_ups(self, m: Module) -> None:
        """Words of the banks, and t_n, each when it is needed."""
        array, banks, stages, pipe = self._array, self._banks, self.stages, self._pipe

        def at(stage: int, base: Value, by_place: Value | int = 0) -> Value:
            return base + Mux(by_place, pipe[stage].place, pipe[stage].number)

        partial = pipe.fields(stages.partial, "partial", "partial_base")
        shortcut = pipe.fields(stages.shortcut, "shortcut", "shortcut_base", "place_b")
        residual = pipe.fields(stages.residual, "residual", "residual_base", "place_b")
        mean = pipe.fields(stages.mean, "accumulate", "base_a", "merge")
        enable, of_b = pipe[stages.shortcut].enable, shortcut.shortcut == Operand.BANK_B
        m.d.comb += [
            banks.region.eq(self.region),
            banks.partial.valid.eq(pipe[stages.partial].enable & partial.partial),
            banks.partial.address.eq(at(stages.partial, partial.partial_base)),
            banks.shortcut.from_a.eq(enable & (shortcut.shortcut == Operand.BANK_A)),
            banks.shortcut.from_b.eq(enable & of_b),
            banks.shortcut.address.eq(at(stages.shortcut, shortcut.shortcut_base, shortcut.place_b & of_b)),
            banks.residual.valid.eq(pipe[stages.residual].enable & residual.residual),
            banks.residual.address.eq(at(stages.residual, residual.residual_base, residual.place_b)),
            banks.mean.valid.eq(pipe[stages.mean].enable & mean.accumulate & pipe[stages.mean].summed),
            banks.mean.address.eq(at(stages.mean, mean.base_a, mean.merge)),
            array.partial.eq(banks.partial_word),
            array.shortcut.eq(banks.shortcut_word),
            array.residual.eq(banks.residual_word),
        ]
        (token,) = table_memories(m, self, self._tables)
        stage = stages.residual - 1
        part = pipe.fields(stage, "token", "token_base")
        used = registered(m, pipe[stage].enable & part.token, 3)
        m.d.sync += token.addr.eq(at(stage, part.token_base))
        m.d.comb += array.token.eq(streamed(m, Mux(used, streamed(m, token.data), 0)))

    def _results(self, m: Module) -> None:
        """Where results go: banks, sign memories, values that shift in, row maxima, pooling; their count."""
        array, banks, stages, pipe = self._array, self._banks, self.stages, self._pipe
        lanes, wide, token = self.config.lanes, self.config.widths.wide, pipe[stages.result]
        part, live = pipe.fields(stages.result, *RESULT_FIELDS), token.live
        early = pipe.fields(stages.result - 1, "mean_shift", "shift_values")
        stored = Signal(self.x.shape(), reset_less=True)
        for lane, share in enumerate(spread(m, early.mean_shift, lanes)):
            m.d.sync += stored[lane].eq(banks.mean_word[lane] + (array.y[lane] >> share))
        place = Mux(part.merge | part.place_out, token.place, token.number)
        counted = thermometer(part.lanes, lanes)
        tiles, pool = self._maximum.tiles, self._pool
        m.d.comb += [
            banks.stored.eq(stored),
            banks.write_a.valid.eq(live & part.write_a),
            banks.write_a.address.eq(part.base_a + place),
            banks.write_b.valid.eq(live & part.write_b),
            banks.write_b.address.eq(part.base_b + Mux(part.place_b, token.place, token.number)),
            banks.write_c.valid.eq(live & part.write_c),
            banks.write_c.address.eq(part.base_a + token.number),
            array.shift.eq(pipe[stages.result - 1].enable & early.shift_values),
            array.begin.eq(pipe[stages.result - 1].begins),
            tiles.valid.eq(live & part.maximum),
            # Scores are halves in two's complement, and maxima are of unsigned ones.
            tiles.p.scores.eq(
                Value.cast(array.y) ^ sum(1 << (wide * lane + wide - 1) for lane in range(lanes))
            ),
            tiles.p.keys.eq(counted),
            tiles.p.row.eq(part.row_base + token.number),
            tiles.p.first.eq(part.first_keys),
            pool.enable.eq(live & part.pool),
            pool.begins.eq(token.begins | part.each),
            pool.ends.eq(token.ends | part.each),
            pool.count.eq(part.lanes),
            pool.x.eq(stored),
        ]
        wiring.connect(m, pool.sums, wiring.flipped(self.sums))
        self._write_signs(m, part)
        self._saturations(m, Mux(live & part.count, counted, 0))

        trace, acc, after = self.trace, pipe[stages.acc], pipe[stages.write]
        sequencer, operation = self._sequencer, self._sequencer.operation
        m.d.comb += [
            trace.issue_valid.eq(sequencer.fresh | (operation != registered(m, operation))),
            trace.issue_pass.eq(sequencer.index),
            trace.issue_operation.eq(operation),
            trace.issue_begins.eq(sequencer.fresh),
            trace.load_valid.eq(self._loader.begin),
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
        ]

    def _write_signs(self, m: Module, part: data.View) -> None:
        """Signs of results; those of the Haar unit; rows of Â."""
        signs, haar, attention, before = self._signs, self._haar, self._attention, self.stages.result - 1
        token, live = self._pipe[self.stages.result], self._pipe[self.stages.result].live
        # Where the results' own go comes out of registers: which of the three it is takes time, too.
        early = self._pipe.fields(before, "bits_base", "bits_chunk", "merge", "place_out", "pairs")
        place = Mux(early.merge | early.place_out, self._pipe[before].place, self._pipe[before].number)
        own, following, preceding = (Signal.like(signs.write_0.address, reset_less=True) for _ in range(3))
        chunks = [Signal.like(signs.write_0.chunk, reset_less=True) for _ in SignMemory]
        own_chunk = early.bits_chunk + self._pipe[before].moved
        m.d.sync += [own.eq(early.bits_base + place), chunks[SignMemory.SIGNS_0].eq(own_chunk)]
        # The words of neighbours are those of results alone: an addition before the choice, and not after it.
        m.d.sync += [following.eq(early.bits_base + place + 1), preceding.eq(early.bits_base + place - 1)]
        upper = Mux(early.pairs, self.config.chunks // 2, 0)
        m.d.sync += chunks[SignMemory.SIGNS_1].eq(own_chunk + upper)
        word = Mux(haar.signs_valid, haar.signs_address, own)
        chunks = [Mux(haar.signs_valid, haar.chunk, chunk) for chunk in chunks]
        bits = [Mux(haar.signs_valid, haar.signs[memory], self._array.bits) for memory in SignMemory]
        m.d.comb += [
            signs.window.eq(Mux(attention.valid | haar.signs_valid, 0, part.window)),
            signs.both.eq(part.pairs),
            signs.following.eq(following),
            signs.preceding.eq(preceding),
            signs.begins.eq(token.begins),
            signs.ends.eq(token.ends),
            signs.write_0.valid.eq(attention.valid | haar.signs_valid | (live & part.bits_0)),
            signs.write_0.address.eq(Mux(attention.valid, attention.row_address, word)),
            signs.write_0.chunk.eq(Mux(attention.valid, attention.chunk, chunks[SignMemory.SIGNS_0])),
            signs.write_0.bits.eq(Mux(attention.valid, attention.chosen, bits[SignMemory.SIGNS_0])),
            signs.write_1.valid.eq(haar.signs_valid | (live & part.bits_1)),
            signs.write_1.address.eq(word),
            signs.write_1.chunk.eq(chunks[SignMemory.SIGNS_1]),
            signs.write_1.bits.eq(bits[SignMemory.SIGNS_1]),
            self.trace.bits_0.eq(signs.written_0),
            self.trace.bits_1.eq(signs.written_1),
        ]

    def _saturations(self, m: Module, counted: Value) -> None:
        m.submodules.clips = clips = Popcount(2 * self.config.lanes)
        m.d.comb += clips.bits.eq(registered(m, self._array.clipped & counted.replicate(2)))
        with m.If(self.begin):
            m.d.sync += self.clipped.eq(0)
        with m.Else():
            m.d.sync += self.clipped.eq(self.clipped + registered(m, clips.count + self._haar.clipped))

    def _units(self, m: Module) -> None:
        """The units that read and write the banks beside the passes, and what a verifier sees of them."""
        attention, maximum, haar, banks = self._attention, self._maximum, self._haar, self._banks
        trace = self.trace
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
        sequencer = self._sequencer
        begin = sequencer.fresh & sequencer.current[field]
        parts, index = Signal(self._pass), Signal.like(sequencer.index)
        shown = Signal.like(index)
        with m.If(begin):
            m.d.sync += [parts.eq(sequencer.current), index.eq(sequencer.index)]
        with m.If(unit.begin):
            m.d.sync += shown.eq(index)
        m.d.comb += [unit.begin.eq(registered(m, begin, stage)), unit.parts.eq(parts)]
        return shown
