"""The lanes get weights and constants of the next pass, signs, and words of the banks."""

from amaranth.hdl import Module, Mux, Value
from amaranth.lib import wiring

from haarlequin.hw.codes import Operand
from haarlequin.hw.common.pipeline import registered, streamed
from haarlequin.hw.common.tables import TableRead
from haarlequin.hw.common.thermometer import thermometer
from haarlequin.hw.lanes.blocks import Blocks
from haarlequin.hw.lanes.tile_buffer import TileBuffer
from haarlequin.hw.lanes.token_pipe import TokenPipe


def load(m: Module, blocks: Blocks, pipe: TokenPipe) -> None:
    """Let the loader load what a later pass needs, and each block take it."""
    loader, array, signs, stages = blocks.loader, blocks.array, blocks.signs, blocks.stages
    current, fresh = blocks.sequencer.current, blocks.sequencer.fresh
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
        array.take.eq(pipe[stages.acc - 1].starts),
        blocks.local.load.eq(loader.load_local),
        blocks.local.local.eq(loader.local),
        blocks.local.take.eq(pipe[stages.STREAM - 1].starts),
        blocks.haar.load.eq(loader.load_moves),
        blocks.haar.moves.eq(loader.moves),
    ]


def wait_for_tiles(m: Module, blocks: Blocks) -> None:
    """Let a pass wait for weights that come from outside."""
    sequencer, loader = blocks.sequencer, blocks.loader
    if blocks.store is None:
        m.d.comb += sequencer.tile_ready.eq(1)
        return
    config, program, table = blocks.config, sequencer.program, blocks.store.weights_table
    m.submodules.store = blocks.store
    m.submodules.tiles = tiles = TileBuffer(config.lanes, config.width, range(config.weights))
    wiring.connect(m, tiles.request, blocks.store.request)
    wiring.connect(m, blocks.store.words, tiles.words)
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


def give_signs(m: Module, blocks: Blocks, pipe: TokenPipe, taps: Value) -> None:
    """Give the array signs, local convolution, gate and kind of sum: all but the words of banks."""
    array, operand, local, signs = blocks.array, blocks.operand, blocks.local, blocks.signs
    sequencer, stages, pipe, lanes = blocks.sequencer, blocks.stages, pipe, blocks.config.lanes
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
        local.taps.eq(taps),
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


def look_up(m: Module, blocks: Blocks, pipe: TokenPipe, region: Value, token: TableRead) -> None:
    """Words of the banks, and t_n, each when it is needed."""
    array, banks, stages, pipe = blocks.array, blocks.banks, blocks.stages, pipe

    def at(stage: int, base: Value, by_place: Value | int = 0) -> Value:
        return base + Mux(by_place, pipe[stage].place, pipe[stage].number)

    partial = pipe.fields(stages.partial, "partial", "partial_base")
    shortcut = pipe.fields(stages.shortcut, "shortcut", "shortcut_base", "place_b")
    residual = pipe.fields(stages.residual, "residual", "residual_base", "place_b")
    mean = pipe.fields(stages.mean, "accumulate", "base_a", "merge")
    enable, of_b = pipe[stages.shortcut].enable, shortcut.shortcut == Operand.BANK_B
    m.d.comb += [
        banks.region.eq(region),
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
    stage = stages.residual - 1
    part = pipe.fields(stage, "token", "token_base")
    used = registered(m, pipe[stage].enable & part.token, 3)
    m.d.sync += token.addr.eq(at(stage, part.token_base))
    m.d.comb += array.token.eq(streamed(m, Mux(used, streamed(m, token.data), 0)))
