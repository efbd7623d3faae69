"""Where results go: banks, sign memories, values that shift in, row maxima and pooling; their count."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data

from haarlequin.hw.codes import SignMemory
from haarlequin.hw.common.pipeline import registered, spread
from haarlequin.hw.common.thermometer import thermometer
from haarlequin.hw.lanes.blocks import Blocks
from haarlequin.hw.lanes.popcount import Popcount
from haarlequin.hw.lanes.token_pipe import TokenPipe

RESULT_FIELDS = (
    *("lanes", "count", "index", "merge", "place_b", "place_out"),
    *("write_a", "write_b", "write_c", "base_a", "base_b"),
    *("bits_0", "bits_1", "window", "pairs"),
    *("maximum", "row_base", "first_keys", "pool", "each"),
)
"""Fields that say what is done with the results of a pass."""


def write_results(m: Module, blocks: Blocks, pipe: TokenPipe) -> tuple[Signal, data.View, Value]:
    """Write results into the banks, shift values in, and give scores and sums to row maxima and pooling.

    Returns the words of the banks, the fields of the results' pass, and the lanes whose saturations count.
    """
    array, banks, stages = blocks.array, blocks.banks, blocks.stages
    lanes, wide, token = blocks.config.lanes, blocks.config.widths.wide, pipe[stages.result]
    part, live = pipe.fields(stages.result, *RESULT_FIELDS), token.live
    early = pipe.fields(stages.result - 1, "mean_shift", "shift_values")
    stored = Signal(array.y.shape(), reset_less=True)
    for lane, share in enumerate(spread(m, early.mean_shift, lanes)):
        m.d.sync += stored[lane].eq(banks.mean_word[lane] + (array.y[lane] >> share))
    place = Mux(part.merge | part.place_out, token.place, token.number)
    counted = thermometer(part.lanes, lanes)
    tiles, pool = blocks.maximum.tiles, blocks.pool
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
        tiles.p.scores.eq(Value.cast(array.y) ^ sum(1 << (wide * lane + wide - 1) for lane in range(lanes))),
        tiles.p.keys.eq(counted),
        tiles.p.row.eq(part.row_base + token.number),
        tiles.p.first.eq(part.first_keys),
        pool.enable.eq(live & part.pool),
        pool.begins.eq(token.begins | part.each),
        pool.ends.eq(token.ends | part.each),
        pool.count.eq(part.lanes),
        pool.x.eq(stored),
    ]
    return stored, part, Mux(live & part.count, counted, 0)


def write_signs(m: Module, blocks: Blocks, pipe: TokenPipe, part: data.View) -> None:
    """Write signs of results, whose pass has the fields ``part``, those of the Haar unit, and rows of Â."""
    signs, haar, attention, before = blocks.signs, blocks.haar, blocks.attention, blocks.stages.result - 1
    token, live = pipe[blocks.stages.result], pipe[blocks.stages.result].live
    # Where the results' own go comes out of registers: which of the three it is takes time, too.
    early = pipe.fields(before, "bits_base", "bits_chunk", "merge", "place_out", "pairs")
    place = Mux(early.merge | early.place_out, pipe[before].place, pipe[before].number)
    own, following, preceding = (Signal.like(signs.write_0.address, reset_less=True) for _ in range(3))
    chunks = [Signal.like(signs.write_0.chunk, reset_less=True) for _ in SignMemory]
    own_chunk = early.bits_chunk + pipe[before].moved
    m.d.sync += [own.eq(early.bits_base + place), chunks[SignMemory.SIGNS_0].eq(own_chunk)]
    # The words of neighbours are those of results alone: an addition before the choice, and not after it.
    m.d.sync += [following.eq(early.bits_base + place + 1), preceding.eq(early.bits_base + place - 1)]
    upper = Mux(early.pairs, blocks.config.chunks // 2, 0)
    m.d.sync += chunks[SignMemory.SIGNS_1].eq(own_chunk + upper)
    word = Mux(haar.signs_valid, haar.signs_address, own)
    chunks = [Mux(haar.signs_valid, haar.chunk, chunk) for chunk in chunks]
    bits = [Mux(haar.signs_valid, haar.signs[memory], blocks.array.bits) for memory in SignMemory]
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
    ]


def count_saturations(m: Module, blocks: Blocks, counted: Value, begin: Value, clipped: Signal) -> None:
    """Count in ``clipped`` the saturations of an image, in the lanes ``counted`` and in the Haar unit."""
    m.submodules.clips = clips = Popcount(2 * blocks.config.lanes)
    m.d.comb += clips.bits.eq(registered(m, blocks.array.clipped & counted.replicate(2)))
    with m.If(begin):
        m.d.sync += clipped.eq(0)
    with m.Else():
        m.d.sync += clipped.eq(clipped + registered(m, clips.count + blocks.haar.clipped))
