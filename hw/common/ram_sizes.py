"""How many RAMs a memory takes, and how a table is cut into memories that take few.

All machines are made for the RAMs of an ECP5. Other families have similar RAMs, or their yosys chooses.
"""

import math

from haarlequin.hw.families.ecp5 import ECP5
from haarlequin.hw.families.family import Family, RamShape

SHALLOW = 48
"""A memory of at most so many distributed RAMs is made of them: it would leave block RAMs mostly empty."""

_CAPACITY = max(shape.words * shape.bits for shape in ECP5.block_rams)
BLOCKS = sorted((one for one in ECP5.block_rams if one.words * one.bits == _CAPACITY), reverse=True)
"""The shapes of a block RAM that use all of its bits, the deepest first."""

SPARE = 1.05
"""How many block RAMs a table may take in order to use deep ones, as a multiple of the smallest number."""

BANK_SPARE = 1.25
"""The same for a bank. There the part has the fewest wires to spare."""


def rams(shape: RamShape, width: int, depth: int, written: int | None = None) -> int:
    """The number of RAMs of a shape that make a memory.

    Groups of ``written`` bits of its words can be written alone; without it, only whole words.
    """
    alone = width if written is None else written
    enables = math.ceil(width / alone) * math.ceil(alone / shape.enabled)
    return math.ceil(depth / shape.words) * math.ceil(enables / (shape.bits // shape.enabled))


def slice_bits(width: int, depth: int, spare: float = SPARE) -> int:
    """The width of the slices into which the words of a table are cut, one column of block RAMs for each.

    The slices are as narrow, and the block RAMs as deep, as ``spare`` times the smallest possible number of
    block RAMs allows. A table of wide block RAMs takes more wires than any other part of the machine: of 25
    of them in a column, one of 25 words has to be selected, of 7 deep ones only one of 7.
    """
    blocks = {shape.bits: rams(shape, width, depth) for shape in BLOCKS}
    return next(bits for bits, count in blocks.items() if count <= spare * min(blocks.values()))


def slices(width: int, depth: int, spare: float = SPARE) -> list[slice]:
    """The slices of the words of a table. A `shallow` table has a single slice."""
    bits = width if shallow(width, depth) else slice_bits(width, depth, spare)
    return [slice(first, min(first + bits, width)) for first in range(0, width, bits)]


def parts(width: int, depth: int, spare: float = SPARE) -> list[tuple[range, slice]]:
    """The words and bits of each memory that makes a table.

    The words after the last whole row of deep block RAMs are cut anew where that saves more than a
    twentieth: of 12,800 words of 128 bits the last 512 take four wide block RAMs, but 14 deep ones.
    """

    def cut(words: range) -> list[tuple[range, slice]]:
        return [(words, part) for part in slices(width, len(words), spare)]

    def count(found: list[tuple[range, slice]]) -> int:
        return sum(block_rams(ECP5, part.stop - part.start, len(words)) for words, part in found)

    whole, bits = cut(range(depth)), slice_bits(width, depth, spare)
    row = next(block.words for block in BLOCKS if block.bits == bits)
    rows = depth // row * row
    if shallow(width, depth) or rows in (0, depth):
        return whole
    split = cut(range(rows)) + cut(range(rows, depth))
    return split if SPARE * count(split) < count(whole) else whole


def shallow(width: int, depth: int) -> bool:
    """Whether a memory is better made of distributed RAMs than of block RAMs."""
    made_of = ECP5.distributed
    return made_of is not None and rams(made_of, width, depth) <= SHALLOW


def block_rams(family: Family, width: int, depth: int, written: int | None = None, reads: int = 1) -> int:
    """The number of block RAMs of a family that a `sized_memory` takes.

    Groups of ``written`` bits of its words can be written alone; without it, only whole words. ``reads`` is
    the number of its read ports.
    """
    if family.distributed and shallow(width, depth):
        return 0
    return reads * min(rams(shape, width, depth, written) for shape in family.block_rams)


def table_block_rams(family: Family, width: int, depth: int, spare: float = SPARE) -> int:
    """The number of block RAMs of a family that a `SlicedMemory` takes."""
    made = parts(width, depth, spare)
    return sum(block_rams(family, part.stop - part.start, len(words)) for words, part in made)
