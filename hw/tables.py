"""Memories that the host fills, and reads back while the machine rests."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from amaranth.hdl import Module, Mux, Shape, ShapeLike, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.data import View
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

DISTRIBUTED = (16, 4)
"""Words and bits of a distributed RAM."""

SHALLOW = 48
"""Distributed RAMs of a memory up to which they are a better place for it than block RAMs, which it would
leave mostly empty."""

BLOCKS = ((2048, 9), (1024, 18), (512, 36))
"""Shapes (words, bits) of a block RAM, the deepest first."""

SPARE = 1.05
"""Block RAMs, in proportion to as few as there can be, that a deep table may take to be made of deep ones."""


def column_bits(width: int, depth: int) -> int:
    """Bits of a column of block RAMs, of which a table is made.

    A table of wide block RAMs takes more wires than any other part of the machine: 25 of them on top of one
    another have 25 words to choose from, 7 deep ones have 7.
    """
    blocks = {bits: math.ceil(depth / words) * math.ceil(width / bits) for words, bits in BLOCKS}
    return next(bits for bits, count in blocks.items() if count <= SPARE * min(blocks.values()))


def shallow(width: int, depth: int) -> bool:
    """Whether a memory is better made of distributed RAMs."""
    words, bits = DISTRIBUTED
    return math.ceil(depth / words) * math.ceil(width / bits) <= SHALLOW


def sized_memory(shape: ShapeLike, depth: int) -> Memory:
    """A memory; synthesis is told what to make it of."""
    style = "distributed" if shallow(Shape.cast(shape).width, depth) else "block"
    return Memory(shape=shape, depth=depth, init=[], attrs={"ram_style": style})


Tables = Mapping[str, tuple[ShapeLike, int]]
"""Shape of a word and number of words, by name."""


class TableSignature(wiring.Signature):
    """The host's side of a memory, a word a cycle: where ``en`` is high, ``data`` goes to ``addr``; where
    ``read`` is high, ``answer`` is the word at ``addr`` a cycle later, and the machine gets it too.
    """

    def __init__(self, shape: ShapeLike, depth: int):
        self.shape, self.depth = shape, depth
        members = {"addr": Out(ceil_log2(depth)), "data": Out(shape), "en": Out(1), "read": Out(1)}
        super().__init__(members | {"answer": In(shape)})


class TableRead(NamedTuple):
    """The machine's side: ``data`` is the word at ``addr`` a cycle later, unless ``en`` is low; then it
    stays.
    """

    addr: Signal
    data: Signal | View
    en: Signal


def table_ports(tables: Tables) -> dict[str, wiring.Member]:
    """The ports of a component by which the host reaches its tables."""
    return {name: In(TableSignature(shape, depth)) for name, (shape, depth) in tables.items()}


def table_memories(m: Module, component: wiring.Component, tables: Tables) -> list[TableRead]:
    """The memories behind a component's `table_ports`, as the component reads them."""
    reads = []
    for name, (shape, depth) in tables.items():
        host, width = getattr(component, name), Shape.cast(shape).width
        own = TableRead(Signal(ceil_log2(depth)), Signal(shape), Signal(init=1))
        bits = width if shallow(width, depth) else column_bits(width, depth)
        for number, first in enumerate(range(0, width, bits)):
            column = slice(first, first + bits)
            stored = Value.cast(host.data)[column]
            m.submodules[f"{name}_{number}"] = words = sized_memory(stored.shape(), depth)
            write, read = words.write_port(), words.read_port()
            m.d.comb += [
                write.addr.eq(host.addr),
                write.data.eq(stored),
                write.en.eq(host.en),
                read.addr.eq(Mux(host.read, host.addr, own.addr)),
                read.en.eq(host.read | own.en),
                Value.cast(own.data)[column].eq(read.data),
            ]
        m.d.comb += host.answer.eq(own.data)
        reads.append(own)
    return reads
