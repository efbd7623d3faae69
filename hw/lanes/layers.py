"""What runs an image's layers: lanes, banks and sign memories, in one pipeline behind the sequencer.

Every part of a pass happens to a token at a fixed stage, a number of cycles behind its issue (`hw.timing`).
The fields of a pass that are not used at once wait in small memories, an entry for each pass in flight;
tokens carry the entry's number down the pipeline.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.attention.attention import Attention
from haarlequin.hw.attention.softmax import RowMaximum
from haarlequin.hw.codes import Operand, SignMemory
from haarlequin.hw.common.pipeline import lane_groups, lane_words, registered, spread, streamed
from haarlequin.hw.common.tables import BANK_SPARE, SlicedMemory, sized_memory, table_memories, table_ports
from haarlequin.hw.common.thermometer import thermometer
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.ends.pool import Pool
from haarlequin.hw.lanes.haar_unit import HaarUnit
from haarlequin.hw.lanes.lane_array import LaneArray
from haarlequin.hw.lanes.loader import Loader
from haarlequin.hw.lanes.local_convolution import LocalConvolution
from haarlequin.hw.lanes.popcount import Popcount
from haarlequin.hw.lanes.sequencer import Sequencer, token_layout
from haarlequin.hw.program import CONTEXTS, pass_layout, settings_layout
from haarlequin.hw.timing import timing


def trace_layout(config: AcceleratorConfig) -> data.StructLayout:
    """What a verifier sees of the layers, cycle by cycle."""
    wide = data.ArrayLayout(signed(config.widths.wide), config.lanes)
    index, number = ceil_log2(config.program), token_layout(config)["number"].shape
    return data.StructLayout(
        {
            "acc_valid": 1,
            "acc_pass": index,
            "acc_number": number,
            "acc": wide,
            "result_valid": 1,
            "result_pass": index,
            "result_number": number,
            "y": wide,
            "stored": wide,
            "bits_0": config.lanes,
            "bits_1": config.lanes,
            "haar_valid": 1,
            "haar_pass": index,
            "haar_number": number,
            "haar_phase": 1,
            "haar": wide,
            "attention_valid": 1,
            "attention_pass": index,
            "attention_address": ceil_log2(config.signs),
            "attention_chunk": ceil_log2(config.width // config.lanes),
            "attention": config.lanes,
        }
    )


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
        w, lanes = config.widths, config.lanes
        self._wide = data.ArrayLayout(signed(w.wide), lanes)
        self._sequencer, self._loader = Sequencer(config), Loader(config)
        self._array = LaneArray(lanes, config.width, config.value_bits, w)
        self._attention = Attention(config)
        self._maximum = RowMaximum(lanes, w.wide, config.rows)
        self._haar = HaarUnit(config)
        self._local = [
            LocalConvolution(len(group), config.theta, config.max_columns, w.local_shift)
            for group in lane_groups(lanes)
        ]
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
                "x": In(self._wide),
                "sums": Out(self._pool.signature.members["sums"].signature),
                "clipped": Out(32),
                "trace": Out(trace_layout(config)),
            }
        )
        self.tables = {
            "program": self._sequencer.program,
            "weights": self._loader.weights_table,
            "constants": self._loader.constants_table,
            "local": self._loader.local_table,
            "tokens": self.token_table,
        }
        """Ports of the memories that the host fills."""

    def elaborate(self, platform):
        m = Module()
        for name in ("sequencer", "loader", "array", "haar", "attention", "maximum", "pool"):
            m.submodules[name] = getattr(self, f"_{name}")
        for number, local in enumerate(self._local):
            m.submodules[f"local_{number}"] = local
        sequencer = self._sequencer
        for name in ("start", "head_free"):
            m.d.comb += getattr(sequencer, name).eq(getattr(self, name))
        for name in ("begin", "done", "operation", "holds_head"):
            m.d.comb += getattr(self, name).eq(getattr(sequencer, name))
        self._pipe = [sequencer.token]
        for _ in range(self.stages.write):
            self._pipe.append(registered(m, self._pipe[-1]))
        self._late_count = 0

        word_0, word_1 = self._signs(m)
        self._loads(m)
        centre, extra = self._convolution(m, word_1)
        self._operands(m, word_0, word_1)
        partial, mean, shortcut, residual = self._banks(m)
        array, stages = self._array, self.stages
        m.d.comb += [
            array.centre.eq(centre),
            array.extra.eq(extra),
            array.partial.eq(partial),
            array.shortcut.eq(shortcut),
            array.residual.eq(residual),
            array.take.eq(self._pipe[stages.acc - 1].starts),
        ]
        self._results(m, mean)
        self._saturations(m)
        self._units(m)
        return m

    def _late(self, m: Module, stage: int, *names: str) -> data.View:
        """Fields of the pass whose token is at ``stage``, 2 or later, out of registers: a look-up and then
        wires to all lanes would be the longest path.
        """
        layout = data.StructLayout(
            {
                name: self._sequencer.index.shape() if name == "index" else self._pass[name].shape
                for name in names
            }
        )
        memory = Memory(shape=layout, depth=CONTEXTS, init=[])
        m.submodules[f"late_{self._late_count}"] = memory
        self._late_count += 1
        write, read = memory.write_port(), memory.read_port(domain="comb")
        sequencer = self._sequencer
        m.d.comb += [
            write.addr.eq(sequencer.token.context),
            write.en.eq(sequencer.fresh),
            read.addr.eq(self._pipe[stage - 1].context),
        ]
        for name in names:
            source = sequencer.index if name == "index" else sequencer.current[name]
            m.d.comb += write.data[name].eq(source)
        return streamed(m, read.data)

    # Sign memories

    def _signs(self, m: Module) -> tuple[Signal, Signal]:
        """The words of the stream, one from each sign memory, at `Timing.STREAM`."""
        config, sequencer, loader = self.config, self._sequencer, self._loader
        self._sign_writes, words = {}, {}
        for which in SignMemory:
            apart = config.windows and which == SignMemory.SIGNS_0
            bits = config.lanes if apart else config.width  # of each of the memories that make it
            address = Signal(ceil_log2(config.signs))
            token = Mux(sequencer.current.place_in, sequencer.place, sequencer.token.number)
            m.d.sync += address.eq(sequencer.current[which.reads] + token)
            writes, parts, here = [], [], Signal.like(address)
            for number in range(config.width // bits):
                memory = sized_memory(bits, config.signs)
                m.submodules[f"signs_{which.value}_{number}"] = memory
                writes.append(memory.write_port(granularity=config.lanes))
                read = memory.read_port()
                m.d.comb += read.addr.eq(here)
                parts.append(read.data)
            m.d.comb += here.eq(address)
            if which == SignMemory.SIGNS_1:
                m.d.comb += loader.key.eq(Cat(parts))
                with m.If(loader.keys):
                    m.d.comb += here.eq(loader.key_address)
            words[which] = streamed(m, Cat(parts))
            self._sign_writes[which] = writes
        return words[SignMemory.SIGNS_0], words[SignMemory.SIGNS_1]

    def _write_signs(
        self,
        m: Module,
        which: SignMemory,
        enable: Value,
        address: Value,
        chunk: Value,
        bits: Value,
        window: Value,
        token: data.View,
    ):
        """Write ``bits`` into a sign memory a cycle later; returns what is being written.

        With a ``window`` they go into three words: as the left neighbour of the next token, as the token's
        own, and as the right neighbour of the token before.
        """
        writes = self._sign_writes[which]
        later = streamed(m, bits)
        for number, write in enumerate(writes):
            m.d.comb += write.data.eq(later.replicate(len(write.en)))
            if len(writes) == 1:
                m.d.sync += [write.addr.eq(address), write.en.eq(Mux(enable, 1 << chunk, 0))]
                continue
            left, right = (
                (window != 0) & ~outer & (chunk + offset == number)
                for outer, offset in ((token.ends, 0), (token.begins, window << 1))
            )
            m.d.sync += write.addr.eq(address + Mux(left, 1, 0) - Mux(right, 1, 0))
            m.d.sync += write.en.eq(enable & (left | right | (chunk + window == number)))
        return later

    # Loads

    def _loads(self, m: Module) -> None:
        loader, array, sequencer, stages = self._loader, self._array, self._sequencer, self.stages
        current = sequencer.current
        loads = current.load_weights | current.load_keys | current.load_constants | current.load_local
        m.d.comb += [
            loader.begin.eq(registered(m, sequencer.fresh & loads, stages.load)),
            loader.parts.eq(current),
            array.load.eq(loader.load),
            array.weights.eq(loader.weights),
            array.load_constants.eq(loader.load_constants),
            array.constants.eq(loader.constants),
            array.swap.eq(registered(m, sequencer.fresh & current.swap, stages.activation - 1)),
        ]

    def _lane_words(self, m: Module, word: Value | data.View, load: Value, stage: int, wait: int = 0) -> list:
        """Each lane's word of a pass, for its token at ``stage`` and later ones. The next ones come with
        ``load``, and wait so many cycles, because the pass must have its own by then.
        """
        take = self._pipe[stage - 2].starts
        return lane_words(m, streamed(m, word, wait), self.config.lanes, registered(m, load, wait), take)

    # The array's operands

    def _convolution(self, m: Module, word_1: Signal) -> tuple[Value, Value]:
        """V_i of every lane, a cycle before `Timing.operands`, and what it and the local convolution add."""
        loader, stages, pipe = self._loader, self.stages, self._pipe
        lanes, latency = self.config.lanes, self._local[0].latency
        part = self._late(m, stages.STREAM - 1, "differential", "local", "columns")
        enable = spread(m, pipe[stages.STREAM - 1].enable & (part.differential | part.local), lanes)
        first, columns = spread(m, pipe[stages.STREAM - 2].first, lanes), spread(m, part.columns, lanes)
        # The number of a single chunk has no bits, and a memory needs some.
        v = word_1.word_select(self._late(m, stages.STREAM, "chunk", "local").chunk, lanes)
        weights = self._lane_words(m, loader.local.weights, loader.load_local, stages.STREAM + 1)
        shift = latency - 2  # cycles from the weights' use to that of the shift
        shifts = self._lane_words(m, loader.local.shift, loader.load_local, stages.STREAM + 1 + shift, shift)
        centres, sums = [], []
        for local, group in zip(self._local, lane_groups(lanes), strict=True):
            m.d.comb += [
                local.enable.eq(enable[group.start]),
                local.first.eq(first[group.start]),
                local.columns.eq(columns[group.start]),
                local.taps.eq(self.settings.taps),
                local.v.eq(v[group.start : group.stop]),
            ]
            for place, lane in enumerate(group):
                m.d.comb += [
                    local.weights[place].eq(weights[lane]),
                    local.local_shift[place].eq(shifts[lane]),
                ]
                sums.append(local.sum[place])
            centres.append(local.centre)
        wait = stages.operands - 1 - (stages.STREAM + latency)
        centre = registered(m, Cat(centres), wait)
        joins = spread(m, self._late(m, stages.operands - 2, "local").local, lanes)
        extra = Signal(self._wide, reset_less=True)
        for lane in range(lanes):
            total = streamed(m, sums[lane], wait) + Mux(centre[lane], 1, -1)
            m.d.sync += extra[lane].eq(Mux(joins[lane], total, 0))
        return centre, extra

    def _operands(self, m: Module, word_0: Signal, word_1: Signal) -> None:
        """The activation; gate, kind of sum and what the pads of the weights leave over."""
        array, stages, config = self._array, self.stages, self.config
        names = "inputs_low", "inputs_high", "above", "below", "left", "right"
        early = self._late(m, stages.STREAM - 1, *names)
        first_row, last_row, first_column, last_column = self._pipe[stages.STREAM - 1].edges
        size = config.width
        ones = []  # for each chunk
        for chunk, part in enumerate(config.edge_parts):
            half = config.half(chunk)
            rows = (first_row & early.above[half]) | (last_row & early.below[half])
            columns = (first_column & early.left[part]) | (last_column & early.right[part])
            ones.append(streamed(m, rows | columns))
        used = streamed(m, thermometer(early.inputs_high, size) & ~thermometer(early.inputs_low, size))
        # By one bit for each half: SIGNS_0 or SIGNS_1, and PAIRS for one of each.
        low, high = Value.cast(self._late(m, stages.STREAM, "activation").activation)
        middle = size // 2
        signs = Cat(Mux(low, word_0[:middle], word_1[:middle]), Mux(high, word_1[middle:], word_0[middle:]))
        activation = (signs | Cat(one.replicate(config.lanes) for one in ones)) & used
        late = self._late(m, stages.operands - 2, "gate_low", "gate_high")
        gate = thermometer(late.gate_high, config.lanes) & ~thermometer(late.gate_low, config.lanes)
        kind = "context", "differential", "inputs_low", "inputs_high"
        part = self._late(m, stages.operands - 2, *kind)
        m.d.comb += [
            array.activation.eq(streamed(m, activation, stages.activation - stages.STREAM)),
            array.gate.eq(streamed(m, gate)),
            array.context.eq(part.context),
            array.differential.eq(part.differential),
            array.balance.eq(part.inputs_high[0] - part.inputs_low[0]),  # `loader.balance`
        ]

    # Banks

    def _banks(self, m: Module) -> tuple[Value, ...]:
        """Partial sums, the mean so far, shortcut, residual, each when it is needed; zeros where a pass
        has none.
        """
        config, stages, pipe, attention = self.config, self.stages, self._pipe, self._attention
        haar = self._haar
        (token,) = table_memories(m, self, self._tables)
        reads = []
        for name, depth in (("a", config.bank_a), ("b", config.bank_b), ("c", config.bank_c)):
            if not depth:  # no third bank: bank A has the partial sums
                reads.append(reads[0])
                self._write_c = None
                continue
            m.submodules[f"bank_{name}"] = memory = SlicedMemory(self._wide, depth, BANK_SPARE)
            setattr(self, f"_write_{name}", memory.write)
            reads.append(memory.read)
        read_a, read_b, read_c = reads
        address_a, address_b = Signal.like(read_a.addr), Signal.like(read_b.addr)

        partial = self._late(m, stages.partial, "partial", "partial_base")
        shortcut = self._late(m, stages.shortcut, "shortcut", "shortcut_base", "place_b")
        residual = self._late(m, stages.residual, "residual", "residual_base", "place_b")
        t = self._late(m, stages.residual - 1, "token", "token_base")
        mean = self._late(m, stages.mean, "accumulate", "base_a", "merge")

        def used(stage: int, flag: Value) -> Value:
            return pipe[stage].enable & flag

        def at(stage: int, base: Value, by_place: Value | int = 0) -> Value:
            return base + Mux(by_place, pipe[stage].place, pipe[stage].number)

        summed = pipe[stages.mean]

        use_partial = used(stages.partial, partial.partial)
        use_a = used(stages.shortcut, shortcut.shortcut == Operand.BANK_A)
        use_b = used(stages.shortcut, shortcut.shortcut == Operand.BANK_B)
        use_residual = used(stages.residual, residual.residual)
        use_mean = used(stages.mean, mean.accumulate & summed.summed)
        use_token = used(stages.residual - 1, t.token)
        of_x = shortcut.place_b & (shortcut.shortcut == Operand.BANK_B)
        either = at(stages.shortcut, shortcut.shortcut_base, of_x)
        of_sums = at(stages.partial, partial.partial_base)
        rest = Mux(use_a, either, at(stages.mean, mean.base_a, mean.merge))
        if config.bank_c:
            address_c = Signal.like(read_c.addr)
            m.d.sync += [address_c.eq(of_sums), address_a.eq(rest)]
            m.d.comb += read_c.addr.eq(address_c)
        else:
            m.d.sync += address_a.eq(Mux(use_partial, of_sums, rest))
        address = Mux(use_b, either, at(stages.residual, residual.residual_base, residual.place_b))
        m.d.sync += address_b.eq(Cat(address[: len(address_b) - 1], self.region))
        m.d.comb += [
            read_a.addr.eq(Mux(attention.read, attention.address, address_a)),
            read_b.addr.eq(Mux(haar.read, Cat(haar.address[: len(address_b) - 1], self.region), address_b)),
            haar.x.eq(streamed(m, read_b.data)),
            attention.scores.eq(Value.cast(read_a.data)),
        ]
        m.d.sync += token.addr.eq(at(stages.residual - 1, t.token_base))

        word_a, word_b, word_c = ([read.data[lane] for lane in range(config.lanes)] for read in reads)
        from_b = spread(m, registered(m, use_b), config.lanes)
        shortcuts = [Mux(b, *words) for b, *words in zip(from_b, word_b, word_a, strict=True)]

        def operand(flag: Value, word: list[Value]) -> Signal:
            register = Signal(self._wide, reset_less=True)
            for lane, here in enumerate(spread(m, registered(m, flag), config.lanes)):
                m.d.sync += register[lane].eq(Mux(here, word[lane], 0))
            return register

        m.d.comb += self._array.token.eq(streamed(m, Mux(registered(m, use_token, 2), token.data, 0)))
        return (
            operand(use_partial, word_c),
            operand(use_mean, word_a),
            operand(use_a | use_b, shortcuts),
            operand(use_residual, word_b),
        )

    # Results

    def _results(self, m: Module, mean: Value) -> None:
        """Write banks and sign memories; maxima, values that shift in, and pooling."""
        array, stages, pipe, config = self._array, self.stages, self._pipe, self.config
        attention, pool, bits = self._attention, self._pool, config.widths.wide
        token, after = pipe[stages.result], pipe[stages.write]
        names: tuple[str, ...] = (
            "write_a",
            "write_c",
            "base_a",
            "write_b",
            "base_b",
            "lanes",
            "row_base",
            "first_keys",
        )
        names += (
            "maximum",
            "bits_0",
            "bits_1",
            "bits_base",
            "bits_chunk",
            "index",
            "window",
            "pairs",
            "merge",
            "place_b",
            "place_out",
        )
        part = self._late(m, stages.result, *names)
        live, haar = token.live, self._haar
        early = self._late(m, stages.result - 1, "mean_shift", "shift_values")
        stored = Signal(self._wide, reset_less=True)
        for lane, share in enumerate(spread(m, early.mean_shift, config.lanes)):
            m.d.sync += stored[lane].eq(mean[lane] + (array.y[lane] >> share))
        a, b, c = self._write_a, self._write_b, self._write_c
        writes_b = registered(m, live & part.write_b)
        from_lanes = spread(m, live & part.write_b, config.lanes)
        place_b = Mux(part.place_b, token.place, token.number)
        place = Mux(part.merge | part.place_out, token.place, token.number)
        address_b = registered(m, (part.base_b + place_b)[: len(b.addr) - 1])
        address_a, writes_a = registered(m, (part.base_a + place)[: len(a.addr)]), Signal()
        m.d.sync += writes_a.eq(live & (part.write_a | part.write_c if c is None else part.write_a))
        if c is not None:
            m.d.sync += [c.addr.eq(part.base_a + token.number), c.en.eq(live & part.write_c)]
            m.d.comb += c.data.eq(stored)
        splits = spread(m, haar.signs_valid, config.lanes)
        m.d.comb += [
            a.en.eq(writes_a | haar.valid),
            a.addr.eq(Mux(haar.valid, haar.wide_address, address_a)),
            *(a.data[lane].eq(Mux(here, haar.wide[lane], stored[lane])) for lane, here in enumerate(splits)),
            self.x_ready.eq(~writes_b),
            b.en.eq(writes_b | self.x_valid),
            b.addr.eq(Mux(writes_b, Cat(address_b, self.region), self.x_address)),
            *(b.data[lane].eq(Mux(here, stored[lane], self.x[lane])) for lane, here in enumerate(from_lanes)),
        ]

        bits_of_haar = haar.signs_valid
        word = Mux(bits_of_haar, haar.signs_address, part.bits_base + place)
        chunk = Mux(bits_of_haar, haar.chunk, part.bits_chunk + token.moved)
        signs = [Mux(bits_of_haar, haar.signs[memory], array.bits) for memory in SignMemory]
        window = Mux(bits_of_haar, 0, part.window)
        rows = attention.valid
        bits_0 = self._write_signs(
            m,
            SignMemory.SIGNS_0,
            rows | bits_of_haar | (live & part.bits_0),
            Mux(rows, attention.row_address, word),
            Mux(rows, attention.chunk, chunk),
            Mux(rows, attention.chosen, signs[SignMemory.SIGNS_0]),
            Mux(rows, 0, window),
            token,
        )
        upper = chunk + Mux(part.pairs & ~bits_of_haar, config.chunks // 2, 0)
        written = bits_of_haar | (live & part.bits_1), word, upper, signs[SignMemory.SIGNS_1]
        bits_1 = self._write_signs(m, SignMemory.SIGNS_1, *written, window, token)

        self._lanes = thermometer(part.lanes, config.lanes)
        tiles = self._maximum.tiles
        flip = sum(1 << (bits * lane + bits - 1) for lane in range(config.lanes))
        pooled = self._late(m, stages.result, "pool", "lanes", "each")
        m.d.comb += [
            array.shift.eq(pipe[stages.result - 1].enable & early.shift_values),
            array.begin.eq(pipe[stages.result - 1].begins),
            tiles.valid.eq(live & part.maximum),
            tiles.p.scores.eq(Value.cast(array.y) ^ flip),
            tiles.p.keys.eq(self._lanes),
            tiles.p.row.eq(part.row_base + token.number),
            tiles.p.first.eq(part.first_keys),
            pool.enable.eq(live & pooled.pool),
            pool.begins.eq(token.begins | pooled.each),
            pool.ends.eq(token.ends | pooled.each),
            pool.count.eq(pooled.lanes),
            pool.x.eq(stored),
        ]
        wiring.connect(m, pool.sums, wiring.flipped(self.sums))

        trace, acc = self.trace, pipe[stages.acc]
        m.d.comb += [
            trace.acc_valid.eq(acc.live),
            trace.acc_pass.eq(self._late(m, stages.acc, "index").index),
            trace.acc_number.eq(acc.number),
            trace.acc.eq(array.acc),
            trace.result_valid.eq(after.live),
            trace.result_pass.eq(registered(m, part.index)),
            trace.result_number.eq(after.number),
            trace.y.eq(registered(m, Value.cast(array.y))),
            trace.stored.eq(stored),
            trace.bits_0.eq(bits_0),
            trace.bits_1.eq(bits_1),
        ]

    def _saturations(self, m: Module) -> None:
        stages, array, pipe = self.stages, self._array, self._pipe
        token = pipe[stages.result]
        counted = Mux(token.live & self._late(m, stages.result, "count").count, self._lanes, 0)
        m.submodules.clips = clips = Popcount(2 * self.config.lanes)
        m.d.comb += clips.bits.eq(registered(m, array.clipped & counted.replicate(2)))
        with m.If(self.begin):
            m.d.sync += self.clipped.eq(0)
        with m.Else():
            m.d.sync += self.clipped.eq(self.clipped + registered(m, clips.count + self._haar.clipped))

    # Units beside the lanes

    def _beside(self, m: Module, unit: str, stage: int) -> Signal:
        """Let a unit begin at a stage of the pass that has the field of its name. Returns the number of the
        pass whose results the unit shows.
        """
        sequencer = self._sequencer
        begin = sequencer.fresh & sequencer.current[unit]
        parts, index = Signal(self._pass), Signal.like(sequencer.index)
        shown = Signal.like(index)
        block = {"haar": self._haar, "softmax": self._attention}[unit]
        with m.If(begin):
            m.d.sync += [parts.eq(sequencer.current), index.eq(sequencer.index)]
        with m.If(block.begin):
            m.d.sync += shown.eq(index)
        m.d.comb += [block.begin.eq(registered(m, begin, stage)), block.parts.eq(parts)]
        return shown

    def _units(self, m: Module) -> None:
        """The units' other ports, and what a verifier sees of them."""
        attention, maximum, haar, loader = self._attention, self._maximum, self._haar, self._loader
        trace = self.trace
        split = self._beside(m, "haar", self.stages.haar)
        scored = self._beside(m, "softmax", self.stages.softmax)
        m.d.comb += [
            haar.load.eq(loader.load_moves),
            haar.moves.eq(loader.moves),
            maximum.query.eq(attention.query),
            attention.maximum.eq(maximum.maximum),
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
