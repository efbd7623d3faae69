import random
from dataclasses import dataclass

import pytest
import torch

from haarlequin.hw.attention.row_maximum import RowMaximum
from haarlequin.hw.attention.softmax import SHIFTS, BinarySoftmax
from haarlequin.models import arithmetic
from haarlequin.models.presets import preset
from haarlequin.models.widths import Widths
from tests.hw.attention.tiles import packed, row_maxima, tiles_of
from tests.hw.bench import simulate

pytestmark = pytest.mark.slow

DEFAULT = Widths()
SMALL = Widths(exp_index=4, exp=6, exp_step=0.25, threshold=11)
SILENCE = 20
"""Cycles after the last thing expected in which nothing more may come."""


@dataclass
class Head:
    scores: list[list[int]]
    """P, rows × keys."""
    shift: int
    threshold: int


def exp_table(widths):
    return arithmetic.exp_table(1 << widths.exp_index, widths.exp, widths.exp_step)


def golden(head, widths):
    scores = torch.tensor([head.scores], dtype=torch.int64)
    threshold = torch.tensor([head.threshold])
    return arithmetic.binarise_softmax(
        2 * scores, exp_table(widths), head.shift, threshold, widths.threshold
    )[0].tolist()


def stream_of(block, heads, generator, gaps):
    """What the block is given each cycle, None for a gap, and the cycle of each row's last tile."""
    cycles, last_tiles, before = [], [], 0
    for head in heads:
        for row in head.scores:
            tiles = list(tiles_of(row, block.lanes, lambda: generator.getrandbits(block.score_bits)))
            for t, (scores, keys) in enumerate(tiles):
                last = t == len(tiles) - 1
                # Where rows get shorter, they must not come out before the longer one has.
                wait = max(0, last_tiles[-1] + before - len(cycles)) if last and last_tiles else 0
                cycles += [None] * wait
                while generator.random() < gaps:
                    cycles.append(None)
                tile = {"scores": packed(scores, block.score_bits), "keys": keys, "last": last}
                cycles.append((tile | {"maximum": max(row)}, head))
            last_tiles.append(len(cycles) - 1)
            before = len(tiles)
    return cycles, last_tiles


def binarise(block, heads, generator, gaps=0.0):
    """Â of each head. That rows come out in time, whole and alone is asserted here."""
    cycles, last_tiles = stream_of(block, heads, generator, gaps)
    noise = [(1 << len(block.tiles.p.as_value())) - 1, 0]
    got = []

    async def testbench(context):
        for cycle, given in enumerate([*cycles, *[None] * (block.latency + block.max_tiles + SILENCE)]):
            context.set(block.tiles.valid, given is not None)
            if given:
                tile, head = given
                context.set(block.tiles.p, tile)
                context.set(block.shift, head.shift)
                # A head's threshold counts where a row ends.
                context.set(block.threshold, head.threshold if tile["last"] else generator.getrandbits(4))
            else:
                context.set(block.tiles.p.as_value(), generator.choice(noise))
                context.set(block.threshold, generator.getrandbits(4))
            if context.get(block.chosen.valid):
                got.append((cycle, context.get(block.chosen.p.keys), context.get(block.chosen.p.last)))
            await context.tick()

    simulate(block, testbench)
    return unpacked(block, heads, got, last_tiles)


def unpacked(block, heads, got, last_tiles):
    """Â of each head from the tiles (cycle, keys, last) that came out."""
    got, last_tiles, result = iter(got), iter(last_tiles), []
    for head in heads:
        rows = []
        for row in head.scores:
            tiles, start, bits = -(-len(row) // block.lanes), next(last_tiles) + block.latency, 0
            for t in range(tiles):
                cycle, keys, last = next(got, (None, 0, 0))
                assert (cycle, last) == (start + t, t == tiles - 1)
                bits |= keys << t * block.lanes
            assert bits >> len(row) == 0, "a lane without a key is chosen"
            rows.append([bits >> j & 1 for j in range(len(row))])
        result.append(rows)
    assert next(got, None) is None, "something came out after the last row"
    return result


def drawn_row(generator, keys, score_bits, shift, widths):
    """Scores whose distances from the largest reach from 0 to beyond the table."""
    top = (1 << score_bits) - 1
    reach = min(top, (2 << widths.exp_index + shift) // 2)
    spread = generator.choice([1, 3, reach // 8 + 1, reach + 1])
    largest = generator.randint(0, top)
    return [max(0, largest - generator.randrange(spread)) for _ in range(keys)]


def extreme_rows(generator, keys, score_bits):
    top = (1 << score_bits) - 1
    yield [0] * keys
    yield [top] * keys
    yield [7] * keys
    for place in {0, keys // 2, keys - 1}:
        yield [0] * place + [top] + [0] * (keys - place - 1)
        yield [top] * place + [0] + [top] * (keys - place - 1)
        yield [top - 1] * place + [top] + [top - 1] * (keys - place - 1)
    yield [generator.choice([0, top]) for _ in range(keys)]


def drawn_head(generator, keys, shift, threshold, widths, rows=7, score_bits=12):
    drawn = [drawn_row(generator, keys, score_bits, shift, widths) for _ in range(rows)]
    return Head([*drawn, *extreme_rows(generator, keys, score_bits)], shift, threshold)


def check(block, heads, generator, gaps=0.0):
    for h, (got, head) in enumerate(zip(binarise(block, heads, generator, gaps), heads, strict=True)):
        for i, (bits, expected) in enumerate(zip(got, golden(head, block.widths), strict=True)):
            assert bits == expected, (
                f"head {h} of τ = {head.threshold}, r = {head.shift}; row {head.scores[i]}"
            )


@pytest.mark.parametrize("gaps", [0, 0.4])
@pytest.mark.parametrize("tiles", [1, 2, 3])
@pytest.mark.parametrize("lanes", [1, 3, 8, 16])
def test_rows_of_heads_one_behind_the_other(lanes, tiles, gaps):
    generator = random.Random(10 * lanes + tiles)
    keys = generator.randint(lanes * (tiles - 1) + 1, lanes * tiles)
    thresholds = [1, 65535, 65536 // keys - (keys == 1), 3000, 500, 40]
    heads = [drawn_head(generator, keys, 2 + h % 4, tau, DEFAULT) for h, tau in enumerate(thresholds)]
    check(BinarySoftmax(lanes, DEFAULT, tiles, 12), heads, generator, gaps)


def test_the_shifts_are_those_of_heads_of_1_to_64_channels():
    shifts = [preset("digits").with_(dim=own, heads=1).score_shift for own in (64, 1)]
    assert tuple(sorted(shifts)) == SHIFTS


@pytest.mark.parametrize("shifts", [(0, 7), (0, 4), (5, 5), (4, 5)])
def test_every_shift_of_the_window(shifts):
    generator = random.Random(shifts[1])
    low, high = shifts
    heads = [
        Head(
            [drawn_row(generator, 9, 12, r, DEFAULT) for _ in range(25)], r, generator.choice([20, 400, 4000])
        )
        for r in range(low, high + 1)
    ]
    check(BinarySoftmax(3, DEFAULT, 3, 12, shifts), heads, generator)


@pytest.mark.parametrize("shift", [2, 5])
def test_every_entry_of_the_table(shift):
    """A pair's second key at every distance, τ such that its entry, or the one above, just passes."""
    table = exp_table(DEFAULT)
    heads = []
    for distance in range((70 << shift) // 2):
        entry = table[min(2 * distance >> shift, len(table) - 1)]
        for passing in (entry, entry + 1):
            threshold = (passing << 16) // (table[0] + entry)
            heads.append(Head([[2000, 2000 - distance]], shift, min(max(threshold, 1), 65535)))
    check(BinarySoftmax(2, DEFAULT, 1, 12), heads, random.Random(0))


def test_ties_with_the_threshold():
    """Entries that add to a power of two, e << 16 == τ·Σ for each of them and no key beside the threshold."""
    table, shift = exp_table(DEFAULT), 5
    heads, passing = [], []
    for total in (512, 1024, 2048):
        entries = [table[0]]
        while sum(entries) < total:
            entries.append(max(entry for entry in table if entry <= total - sum(entries)))
        entries.sort()
        row = [3000 - (table.index(entry) << shift) // 2 for entry in entries]
        for entry in set(entries):
            tie = (entry << 16) // total
            assert tie * total == entry << 16
            for threshold, least in ((tie - 1, entry), (tie, entry), (tie + 1, entry + 1)):
                heads.append(Head([row], shift, threshold))
                passing.append([int(e >= least) for e in entries])
    assert [golden(head, DEFAULT) for head in heads] == [[bits] for bits in passing]
    longest = max(len(head.scores[0]) for head in heads)
    assert binarise(BinarySoftmax(4, DEFAULT, -(-longest // 4), 12), heads, random.Random(0)) == [
        [bits] for bits in passing
    ]


@pytest.mark.parametrize("keys", [1, 2, 11])
def test_the_smallest_and_the_largest_threshold(keys):
    """Of τ = 1 every key whose entry is not 0 passes, of 1 − 2^−16 only a key that has all of Σ."""
    generator = random.Random(keys)
    rows = drawn_head(generator, keys, 5, 1, DEFAULT, rows=20).scores
    heads = [Head(rows, 5, 1), Head(rows, 5, 65535)]
    table = exp_table(DEFAULT)
    entries = [[table[min(2 * (max(row) - score) >> 5, 63)] for score in row] for row in rows]
    every = [[int(e > 0) for e in row] for row in entries]
    only = [[int(e == sum(row)) for e in row] for row in entries]
    assert binarise(BinarySoftmax(4, DEFAULT, 3, 12), heads, generator) == [every, only]


@pytest.mark.parametrize("score_bits", [3, 8, 12])
def test_other_widths(score_bits):
    generator = random.Random(score_bits)
    heads = [
        drawn_head(
            generator, 8, r, generator.randrange(1, 1 << generator.randint(1, 11)), SMALL, 6, score_bits
        )
        for r in (1, 2, 3, 4, 5, 6)
    ]
    check(BinarySoftmax(3, SMALL, 3, score_bits, shifts=(1, 6)), heads, generator, gaps=0.2)


@pytest.mark.parametrize(("lanes", "max_tiles"), [(1, 1), (1, 2), (1, 4), (1, 6), (3, 4), (4, 12), (16, 2)])
def test_no_tile_overtakes_another_however_full_the_memory_is(lanes, max_tiles):
    """The longest rows there may be, one right behind the other, for more rows than the memory has words."""
    generator = random.Random(max_tiles)
    rows = [drawn_row(generator, lanes * max_tiles, 12, 5, DEFAULT) for _ in range(24)]
    check(
        BinarySoftmax(lanes, DEFAULT, max_tiles, 12), [Head(rows, 5, 65536 // len(rows[0]) // 2)], generator
    )


def test_rows_of_other_lengths():
    generator = random.Random(0)
    lengths = [1, 2, 5, 5, 4, 1, 1, 3, 2, 1, 5, 1]
    heads = [Head([drawn_row(generator, n, 12, 5, DEFAULT)], 5, 9000) for n in lengths * 3]
    check(BinarySoftmax(1, DEFAULT, 5, 12), heads, generator)


def test_scores_of_queries_and_keys():
    """From Q and K through popcounts, maxima and softmax to the bits that the model's own scores give."""
    generator = random.Random(0)
    signs = torch.Generator().manual_seed(0)
    tokens, d, shift, threshold, lanes = 11, 16, 4, 5000, 4
    weights = 29, 3
    q, k = (torch.randint(0, 2, (2, tokens, d), generator=signs) * 2 - 1 for _ in range(2))
    scores = arithmetic.scores([(q[b], k[b], w) for b, w in enumerate(weights)], heads=1)
    expected = arithmetic.binarise_softmax(
        scores, exp_table(DEFAULT), shift, torch.tensor([threshold]), DEFAULT.threshold
    )[0]
    agreements = (q[:, :, None] == k[:, None]).sum(-1)
    popcounts = (agreements[0] * weights[0] + agreements[1] * weights[1]).tolist()
    maxima = row_maxima(RowMaximum(lanes, 12, tokens), [popcounts], generator, gaps=0)
    assert maxima == [[max(row) for row in popcounts]]
    bits = binarise(BinarySoftmax(lanes, DEFAULT, 3, 12), [Head(popcounts, shift, threshold)], generator)
    assert bits == [expected.tolist()]
    assert 0 < expected.sum() < expected.numel()


@pytest.mark.parametrize("argument", ["lanes", "max_tiles", "score_bits"])
@pytest.mark.parametrize("value", [0, -3, 2.0, "4"])
def test_binary_softmax_refuses(argument, value):
    arguments = {"lanes": 2, "max_tiles": 4, "score_bits": 12, argument: value}
    with pytest.raises(
        ValueError, match=rf"BinarySoftmax {argument} must be a positive integer, not {value!r}"
    ):
        BinarySoftmax(widths=DEFAULT, **arguments)


@pytest.mark.parametrize("shifts", [(5, 4), (-1, 4), (1,), (1, 2.0), [2, 5], 5])
def test_binary_softmax_refuses_a_window_that_is_none(shifts):
    with pytest.raises(
        ValueError, match=r"BinarySoftmax shifts must be a window \(low, high\) from 0 on, not "
    ):
        BinarySoftmax(2, DEFAULT, 4, 12, shifts)
