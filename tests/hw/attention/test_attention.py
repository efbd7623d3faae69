import random
from dataclasses import dataclass, replace

import pytest
import torch

from haarlequin.hw.attention.attention import Attention
from haarlequin.hw.presets import CONFIGS
from haarlequin.hw.program import pass_layout
from haarlequin.models import arithmetic
from tests.hw.bench import simulate

pytestmark = pytest.mark.slow

SILENCE = 20
"""Cycles after the last thing expected in which nothing more may come."""


def machine(lanes, width, tokens, keys=None):
    return replace(
        CONFIGS["2x64"],
        lanes=lanes,
        width=width,
        max_tokens=tokens,
        max_keys=keys or 0,
        bank_a=1024,
        signs=512,
        rows=64,
    )


@dataclass
class Head:
    p: torch.Tensor
    """Unsigned scores, rows × keys."""
    parts: dict[str, int]
    """The fields of its pass."""


def drawn_head(config, generator, keys, key_chunk=None, rows=None):
    """Scores whose distances from their row's largest reach from 0 to beyond the table, anywhere in the
    memories, whose ends they may pass.
    """
    shift, top = generator.randint(2, 5), (1 << config.widths.wide) - 1
    p, rows = [], rows or keys
    for _ in range(rows):
        largest = generator.choice([0, top, generator.randint(0, top)])
        spread = generator.choice([1, 4, 16 << shift, 80 << shift])
        row = [max(0, largest - generator.randrange(spread)) for _ in range(keys)]
        row[generator.randrange(keys)] = largest
        p.append(row)
    chunks = config.width // config.lanes
    layout = pass_layout(config)
    parts = {name: generator.getrandbits(layout[name].width) for name in ("scores_base", "attention_base")}
    parts["softmax_row"] = generator.randint(0, config.rows - rows)
    parts["threshold"] = min(generator.choice([1 << 16, 1 << 17, 1 << 15]) // keys, 65535)
    tiles = tiles_of(config, keys)
    parts |= {"keys": rows, "key_tiles": tiles, "key_lanes": keys - (tiles - 1) * config.lanes}
    parts["key_chunk"] = -tiles % chunks if key_chunk is None else key_chunk
    return Head(torch.tensor(p), parts | {"score_shift": shift})


def tiles_of(config, keys):
    return -(-keys // config.lanes)


def begins_of(block, heads, pause=0):
    """The cycle each head begins in: beside the last result of the one before, or ``pause`` cycles later."""
    begins = [2]
    for head in heads:
        rows, keys = head.p.shape
        tiles = tiles_of(block.config, keys)
        begins.append(begins[-1] + rows * tiles + tiles - 2 + block.latency + pause)
    return begins


def golden(block, heads, begins):
    """The look-ups, (cycle, address), and the tiles of Â, (cycle, address, chunk, bits)."""
    config, reads, results = block.config, [], []
    widths, chunks = config.widths, config.width // config.lanes
    table = arithmetic.exp_table(1 << widths.exp_index, widths.exp, widths.exp_step)
    for head, begin in zip(heads, begins, strict=False):
        rows, keys = head.p.shape
        tiles = tiles_of(config, keys)
        threshold, scores = torch.tensor([head.parts["threshold"]]), 2 * head.p[None]
        shift = head.parts["score_shift"]
        chosen = arithmetic.binarise_softmax(scores, table, shift, threshold, widths.threshold)[0]
        for i, row in enumerate(chosen.tolist()):
            for j in range(tiles):
                address = head.parts["scores_base"] + j * rows + i
                reads.append((begin + i * tiles + j + 1, address % config.bank_a))
                word, chunk = divmod(head.parts["key_chunk"] + j, chunks)
                address = head.parts["attention_base"] + word * rows + i
                bits = sum(bit << k for k, bit in enumerate(row[j * config.lanes :][: config.lanes]))
                first = begin + i * tiles + tiles - 1 + block.latency
                results.append((first + j, address % config.signs, chunk, bits))
    return reads, results


def bank_of(config, head, noise):
    """Words of scores by address, in two's complement, lanes without a key full of noise."""
    wide, (rows, keys), words = config.widths.wide, head.p.shape, {}
    for i, row in enumerate((head.p - (1 << wide - 1)).tolist()):
        for j in range(tiles_of(config, keys)):
            tile = row[j * config.lanes :][: config.lanes]
            word = noise() >> len(tile) * wide << len(tile) * wide
            word |= sum((score % (1 << wide)) << k * wide for k, score in enumerate(tile))
            words[(head.parts["scores_base"] + j * rows + i) % config.bank_a] = word
    return words


def rtl(block, heads, begins, generator):
    """The like of the block, whose bank and maxima hold noise wherever there is none of the head's."""
    config, reads, results = block.config, [], []
    layout, wide = pass_layout(config), config.widths.wide

    def noise():
        return generator.getrandbits(config.lanes * wide)

    async def testbench(context):
        get = context.get
        words, maxima, (before, address), query = {}, {}, (None, None), None
        for cycle in range(begins[-1] + SILENCE):
            begin = cycle in begins[:-1]
            context.set(block.begin, begin)
            context.set(block.parts.as_value(), generator.getrandbits(layout.size))
            if begin:
                head = heads[begins.index(cycle)]
                words = bank_of(config, head, noise)
                maxima = {head.parts["softmax_row"] + i: max(row) for i, row in enumerate(head.p.tolist())}
                context.set(block.parts, head.parts)
            context.set(block.scores, words[before] if before in words else noise())
            context.set(block.maximum, maxima[query] if query in maxima else generator.getrandbits(wide))
            query, before = get(block.query), address
            address = get(block.address) if get(block.read) else None
            if address is not None:
                reads.append((cycle, address))
            if get(block.valid):
                results.append((cycle, get(block.row_address), get(block.chunk), get(block.chosen)))
            await context.tick()

    simulate(block, testbench)
    return reads, results


def check(config, heads, generator, pause=0):
    block = Attention(config)
    begins = begins_of(block, heads, pause)
    assert rtl(block, heads, begins, generator) == golden(block, heads, begins)


@pytest.mark.parametrize("pause", [0, 7])
@pytest.mark.parametrize(
    ("lanes", "width", "tokens"),
    [
        (1, 2, 1),
        (1, 4, 7),  # a row of Â longer than a word
        (2, 2, 5),  # a word a tile
        (2, 6, 11),  # three chunks a word
        (3, 12, 3),
        (4, 8, 13),
        (8, 16, 16),
        (8, 64, 17),
        (16, 32, 48),
        (16, 32, 49),
    ],
)
def test_heads_one_behind_the_other(lanes, width, tokens, pause):
    """Of every number of tiles a row and of a last tile that is full or not."""
    generator = random.Random(lanes * tokens)
    config = machine(lanes, width, tokens)
    heads = [drawn_head(config, generator, tokens) for _ in range(4)]
    check(config, heads, generator, pause)


def test_heads_of_several_sizes_one_after_the_other():
    """Fewer and more tiles than before, rows that begin at any chunk of a word."""
    generator = random.Random(0)
    config = machine(4, 12, 25)
    sizes = [(25, 25), (1, 1), (4, 4), (5, 5), (3, 25), (13, 8), (2, 9)]
    heads = [drawn_head(config, generator, k, generator.randrange(3), rows) for rows, k in sizes * 2]
    check(config, heads, generator)


def test_more_tiles_a_row_than_a_byte_counts():
    generator = random.Random(0)
    config = machine(1, 2, 259)
    check(config, [drawn_head(config, generator, 259, rows=2) for _ in range(2)], generator)


def test_fewer_keys_than_tokens():
    """A machine whose largest grid has no attention."""
    generator = random.Random(0)
    config = machine(4, 8, 30, keys=10)
    check(config, [drawn_head(config, generator, keys) for keys in (10, 3, 10)], generator)
