"""Block RAMs of a network on the next machine, memory by memory, by the rules of `hw.common.tables`."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from haarlequin.hw.common import ram_sizes
from haarlequin.hw.ends.embedding import constants_layout as embedding_layout
from haarlequin.hw.ends.head import constants_layout as head_layout
from haarlequin.hw.families.ecp5 import ECP5
from haarlequin.models.config import ModelConfig
from haarlequin.models.stages import ATTENTION, CONVOLUTION, MLP
from haarlequin.sw.plan.machine import GROUP, Machine
from haarlequin.sw.plan.timeline import Operation, split

UPDATE_BITS = 36
"""A word of the program: a group of up to 31 bits, and its number."""

WITHOUT_WEIGHTS = ("signs", "merge signs", "scores", "context")
"""Operations whose second operand is no table."""


@dataclass(frozen=True)
class Memory:
    """A memory of ``parts`` slices that are filled alike, with ``words`` words of ``width`` bits in each.

    Where ``written`` is not 0, so many bits of a word can be written alone, and the memory is not cut into
    columns of deep block RAMs; otherwise ``spare`` says how many of these it may take.
    """

    name: str
    purpose: str
    words: int
    width: int
    parts: int = 1
    spare: float = ram_sizes.SPARE
    written: int = 0
    reads: int = 1

    @property
    def columns(self) -> int:
        """Its block RAMs of an ECP5, all of its columns alike."""
        if ram_sizes.shallow(self.width, self.words):
            return 0
        bits = ram_sizes.slice_bits(self.width, self.words, 1 if self.written else self.spare)
        shape = next(shape for shape in ram_sizes.BLOCKS if shape.bits == bits)
        return self.parts * self.reads * ram_sizes.rams(shape, self.width, self.words)

    @property
    def block_rams(self) -> int:
        """Its block RAMs of an ECP5 where the last column is as narrow as it can be, as routed today."""
        if self.written:
            blocks = ram_sizes.block_rams(ECP5, self.width, self.words, self.written, self.reads)
        else:
            blocks = self.reads * ram_sizes.table_block_rams(ECP5, self.width, self.words, self.spare)
        return self.parts * blocks


def updates(operations: Iterable[Operation]) -> int:
    """Words of the program, estimated from its passes: from 3 % fewer to 12 % more than the prototype's
    programs have. The numbers are a fit to these, and to the block RAMs that the notes assume.
    """
    return sum(28 * o.runs + 11 * o.finals + 7 * o.steps for o in operations) // 4 + 26


def memories(config: ModelConfig, machine: Machine, operations: list[Operation]) -> list[Memory]:
    """Every memory, as large as the network needs it. None has words to spare."""
    filled = _tables(config, machine, {o.name: o for o in operations})
    return [each for each in (*filled, *_lanes(config, machine), *_ends(config, machine)) if each.words]


def _tables(config: ModelConfig, machine: Machine, operations: dict[str, Operation]) -> list[Memory]:
    """The tables that the host fills for the lanes."""
    lanes, w = machine.lanes, config.widths
    attending = [place.config for place in config.places if place.config.stage.kind == ATTENTION]
    weighted = sum(o.passes for name, o in operations.items() if name not in WITHOUT_WEIGHTS)
    constant = sum(o.finals for name, o in operations.items() if name != "scores")
    # A merge has moves for each of its four tokens.
    constant += 3 * operations["merge signs"].finals if "merge signs" in operations else 0
    constant += sum(split(each.dim, lanes) for each in attending if each.hfsc)  # moves of the bands
    offsets = 0
    for place in config.places:
        stage = place.config.stage
        results = 1 if stage.kind == CONVOLUTION else 5 if stage.feed_forward == MLP else 4
        offsets += place.config.tokens * results * place.config.irprelu
    local = lanes * sum(split(each.dim, lanes) for each in attending if each.diba)
    bits = w.multiplier + w.bias + 2 * w.slope + 2 * w.offset
    return [
        Memory("weights", "binary weights", lanes * weighted, machine.width),
        Memory("constants", "of the lanes", lanes * constant + len(attending), bits),
        Memory("local", "convolution", local, config.theta**2 + w.local_shift),
        Memory("tokens", "t_n", offsets, w.offset),
        Memory("program", "updates of passes", updates(operations.values()), UPDATE_BITS),
    ]


def _lanes(config: ModelConfig, machine: Machine) -> list[Memory]:
    """Signs, banks, and what the attention keeps."""
    lanes, width, wide = machine.lanes, machine.width, config.widths.wide
    signs, a, b, c, rows, values, transposed, attention = ([0] for _ in range(8))
    bits_transposed = bits_attention = 0
    for place in config.places:
        stage, n, dim, heads = place.config.stage, place.config.tokens, place.config.dim, place.config.heads
        tiles, words = split(dim, lanes), split(dim, width)
        b.append(2 * tiles * n)
        if place.merged:
            signs.append(split(4 * place.merged.dim, width) * n)
            c.append(4 * split(place.merged.dim, lanes) * n)
        if stage.kind == CONVOLUTION:
            signs.append(2 * words * n)
            a.append(n)
            continue
        window = place.config.window_alone().tokens
        half = min(window, width // 2)
        signs.append(8 * words * n)
        a.append(heads * split(window, lanes) * window + tiles * n)
        c.append(2 * tiles * n)
        rows.append(heads * window)
        values.append(words * n)
        transposed.append(dim * split(window, half))
        attention.append(heads * window * split(window, width))
        bits_transposed, bits_attention = max(bits_transposed, half), max(bits_attention, min(window, width))
    groups = max(1, lanes // GROUP)
    bank = (lanes * wide // groups, groups, ram_sizes.BANK_SPARE)
    return [
        Memory("signs 0", "signs, queries, u", max(signs), width, written=lanes),
        Memory("signs 1", "signs, keys", max(signs), width, written=lanes),
        Memory("bank A", "V', scores, partial sums", max(a), *bank),
        Memory("bank B", "x of two images", max(b), *bank),
        Memory("bank C", "lo, hi, mean of u, merges", max(c), *bank),
        Memory("rows", "maxima of the scores", max(rows), wide, reads=2),
        Memory("V rows", "signs of V", max(values), width, written=lanes),
        Memory("V columns", "the same, transposed", max(transposed), bits_transposed),
        Memory("Â", "rows of Â", max(attention), bits_attention),
    ]


def _ends(config: ModelConfig, machine: Machine) -> list[Memory]:
    """The memories of stem and head."""
    w, patch, classes = config.widths, config.patch_length, len(config.classes)
    first, last, tokens = config.stages[0].dim, config.stages[-1].dim, math.prod(config.grids[0])
    pixels = 2 * math.prod(config.image) * config.channels
    head = 0 if config.segmentation else last
    return [
        Memory("pixels", "two images", pixels, 8),
        Memory("patch weights", "stem", split(first, machine.macs) * patch, 8 * machine.macs),
        Memory("embedding", "bias and affine", first, embedding_layout(w, patch).size),
        Memory("positions", "stem", tokens * first if config.stem.patch else 0, w.wide),
        Memory("head", "affine", head, head_layout(w).size),
        Memory("head weights", "classifier", head * classes, 8),
        Memory("head biases", "classifier", classes if head else 0, 32),
    ]
