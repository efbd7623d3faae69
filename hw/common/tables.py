"""Memories that the host fills, and reads back while the machine rests; and what memories are made of.

All machines are made for the RAMs of an ECP5; other families have the like of them, or their yosys chooses.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from amaranth.hdl import Module, Mux, Shape, ShapeLike, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.data import View
from amaranth.lib.memory import Memory, ReadPort, WritePort
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.families.ecp5 import ECP5
from haarlequin.hw.families.family import Family, RamShape

SHALLOW = 48
"""Distributed RAMs of a memory up to which they are a better place for it than block RAMs, which it would
leave mostly empty."""

_CAPACITY = max(shape.words * shape.bits for shape in ECP5.block_rams)
BLOCKS = sorted((one for one in ECP5.block_rams if one.words * one.bits == _CAPACITY), reverse=True)
"""Shapes of a block RAM that use all its bits, the deepest first."""

SPARE = 1.05
"""Block RAMs, in proportion to as few as there can be, that a deep table may take to be made of deep ones."""

BANK_SPARE = 1.25
"""The like of a bank, at whose place a part has the least wires to spare."""


def rams(shape: RamShape, width: int, depth: int, written: int | None = None) -> int:
    """RAMs of that shape that make a memory, of whose words ``written`` bits can be written alone."""
    alone = width if written is None else written
    enables = math.ceil(width / alone) * math.ceil(alone / shape.enabled)
    return math.ceil(depth / shape.words) * math.ceil(enables / (shape.bits // shape.enabled))


def slice_bits(width: int, depth: int, spare: float = SPARE) -> int:
    """Bits of the slices of a word, block RAMs side by side, of which a table is made that may take ``spare``
    times as few block RAMs as there can be.

    A table of wide block RAMs takes more wires than any other part of the machine: 25 of them on top of one
    another have 25 words to choose from, 7 deep ones have 7.
    """
    blocks = {shape.bits: rams(shape, width, depth) for shape in BLOCKS}
    return next(bits for bits, count in blocks.items() if count <= spare * min(blocks.values()))


def slices(width: int, depth: int, spare: float = SPARE) -> list[slice]:
    """The slices of a word; a single one where the table is `shallow`."""
    bits = width if shallow(width, depth) else slice_bits(width, depth, spare)
    return [slice(first, min(first + bits, width)) for first in range(0, width, bits)]


def shallow(width: int, depth: int) -> bool:
    """Whether a memory is better made of distributed RAMs."""
    made_of = ECP5.distributed
    return made_of is not None and rams(made_of, width, depth) <= SHALLOW


def block_rams(family: Family, width: int, depth: int, written: int | None = None, reads: int = 1) -> int:
    """Block RAMs of a family that a `sized_memory` becomes, of whose words ``written`` bits can be written
    alone (all, where it is None), with so many ports that read.
    """
    if family.distributed and shallow(width, depth):
        return 0
    return reads * min(rams(shape, width, depth, written) for shape in family.block_rams)


def table_block_rams(family: Family, width: int, depth: int, spare: float = SPARE) -> int:
    """The like of a `SlicedMemory`."""
    parts = slices(width, depth, spare)
    return sum(block_rams(family, part.stop - part.start, depth) for part in parts)


class SlicedMemory(wiring.Component):
    """A memory of such `slices`. Its ports are those of `amaranth.lib.memory`: the word at ``read.addr`` is
    in ``read.data`` a cycle later where ``read.en`` is high.
    """

    def __init__(self, shape: ShapeLike, depth: int, spare: float = SPARE):
        self._depth, self._slices = depth, slices(Shape.cast(shape).width, depth, spare)
        address = ceil_log2(depth)
        ports = {"read": ReadPort, "write": WritePort}
        signatures = {name: port.Signature(addr_width=address, shape=shape) for name, port in ports.items()}
        super().__init__({name: Out(signature) for name, signature in signatures.items()})

    def elaborate(self, platform):
        m = Module()
        for number, part in enumerate(self._slices):
            memory = sized_memory(part.stop - part.start, self._depth)
            m.submodules[f"slice_{number}"] = memory
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.addr.eq(self.write.addr),
                write.data.eq(Value.cast(self.write.data)[part]),
                write.en.eq(self.write.en),
                read.addr.eq(self.read.addr),
                read.en.eq(self.read.en),
                Value.cast(self.read.data)[part].eq(read.data),
            ]
        return m


def sized_memory(shape: ShapeLike, depth: int) -> Memory:
    """A memory; synthesis is told what to make it of."""
    style = "distributed" if shallow(Shape.cast(shape).width, depth) else "block"
    return Memory(shape=shape, depth=depth, init=[], attrs={"ram_style": style})


Tables = Mapping[str, tuple[ShapeLike, int]]
"""Shape of a word and number of words, by name."""


class TableSignature(wiring.Signature):
    """The host's side of a memory, one word per cycle: where ``en`` is high, ``data`` goes to ``addr``; where
    ``read`` is high, ``answer`` is the word at ``addr`` a cycle later, and the machine gets it too.
    """

    def __init__(self, shape: ShapeLike, depth: int):
        self.shape, self.depth = shape, depth
        members = {"addr": Out(ceil_log2(depth)), "data": Out(shape), "en": Out(1), "read": Out(1)}
        super().__init__(members | {"answer": In(shape)})


class TableRead(NamedTuple):
    """The machine's side: ``data`` is the word at ``addr`` a cycle later; where ``en`` is low, it stays."""

    addr: Signal
    data: Signal | View
    en: Signal


def table_ports(tables: Tables) -> dict[str, wiring.Member]:
    """The ports of a component by which the host reaches its tables."""
    return {name: In(TableSignature(shape, depth)) for name, (shape, depth) in tables.items()}


def table_memories(m: Module, component: wiring.Component, tables: Tables) -> list[TableRead]:
    """The memories that a component's `table_ports` fill, as the component reads them."""
    reads = []
    for name, (shape, depth) in tables.items():
        host = getattr(component, name)
        m.submodules[name] = words = SlicedMemory(shape, depth)
        own = TableRead(Signal(ceil_log2(depth)), words.read.data, Signal(init=1))
        m.d.comb += [
            words.write.addr.eq(host.addr),
            words.write.data.eq(host.data),
            words.write.en.eq(host.en),
            words.read.addr.eq(Mux(host.read, host.addr, own.addr)),
            words.read.en.eq(host.read | own.en),
            host.answer.eq(own.data),
        ]
        reads.append(own)
    return reads
