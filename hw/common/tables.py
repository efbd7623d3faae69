"""Tables, which are memories that the host fills and reads back while the machine rests, and their RAMs.

All machines are made for the RAMs of an ECP5. Other families have similar RAMs, or their yosys chooses.
"""

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

from amaranth.hdl import Cat, Module, Mux, Shape, ShapeLike, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.data import View
from amaranth.lib.memory import Memory, ReadPort, WritePort
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.common.pipeline import spread, streamed
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


COLUMNS = 4
"""Parts of a `SlicedMemory` that share a register of what goes to them."""

_Port = tuple[Value, Value, Value, Value]
"""``read.en``, ``read.addr``, ``write.en`` and ``write.addr``."""


class SlicedMemory(wiring.Component):
    """A memory that is made of several ones, as `parts` says.

    Parameters
    ----------
    shape : ShapeLike
        The shape of a word.
    depth : int
        The number of words.
    spare : float
        How many block RAMs it may take, as a multiple of the smallest number possible.
    ahead : bool
        Whether all that goes to the block RAMs comes out of registers first, one for each `COLUMNS` of them:
        the wires of an address to block RAMs all over the part are the longest of the machine. Reads and
        writes then take a cycle longer, and both are at ``read.addr``.

    Members
    -------
    read : Out(ReadPort.Signature)
        If ``read.en`` is high, the word at ``read.addr`` is in ``read.data`` one cycle later.
    write : Out(WritePort.Signature)
        If ``write.en`` is high, ``write.data`` goes to the word at ``write.addr``.
    """

    def __init__(self, shape: ShapeLike, depth: int, spare: float = SPARE, ahead: bool = False):
        self._parts, self._ahead = parts(Shape.cast(shape).width, depth, spare), ahead
        address = ceil_log2(depth)
        ports = {"read": ReadPort, "write": WritePort}
        signatures = {name: port.Signature(addr_width=address, shape=shape) for name, port in ports.items()}
        super().__init__({name: Out(signature) for name, signature in signatures.items()})

    def elaborate(self, platform):
        m = Module()
        rows = dict.fromkeys(words for words, _ in self._parts)
        found = {words: Signal(Value.cast(self.read.data).shape()) for words in rows}
        data, ports = Value.cast(self.write.data), [self._own()] * len(self._parts)
        if self._ahead:
            data, ports = streamed(m, data), self._copies(m)
        for number, ((words, part), (reads, address, writes, place)) in enumerate(
            zip(self._parts, ports, strict=True)
        ):
            memory = sized_memory(part.stop - part.start, len(words))
            m.submodules[f"slice_{number}"] = memory
            write, read = memory.write_port(), memory.read_port()
            # Rows are of block RAMs, so that the low bits of an address are those within its row.
            m.d.comb += [
                write.addr.eq(place),
                write.data.eq(data[part]),
                write.en.eq(writes & (place >= words.start) & (place < words.stop)),
                read.addr.eq(address),
                read.en.eq(reads),
                found[words][part].eq(read.data),
            ]
        *others, last = found
        word, (reads, address, *_) = found[last], ports[0]
        for words in others:
            here = Signal()
            with m.If(reads):
                m.d.sync += here.eq(address < words.stop)
            word = Mux(here, found[words], word)
        m.d.comb += Value.cast(self.read.data).eq(word)
        return m

    def _own(self) -> _Port:
        return self.read.en, self.read.addr, self.write.en, self.write.addr

    def _copies(self, m: Module) -> list[_Port]:
        """For each part, registers that are near its block RAMs."""
        both = spread(
            m,
            Cat(self.read.en, self.write.en, self.read.addr),
            len(self._parts),
            reset_less=True,
            size=COLUMNS,
        )
        return [(one[0], one[2:], one[1], one[2:]) for one in both]


def sized_memory(shape: ShapeLike, depth: int) -> Memory:
    """A memory with an attribute that tells synthesis to use distributed or block RAMs."""
    style = "distributed" if shallow(Shape.cast(shape).width, depth) else "block"
    return Memory(shape=shape, depth=depth, init=[], attrs={"ram_style": style})


Tables = Mapping[str, tuple[ShapeLike, int]]
"""The shape of a word and the number of words of each table, by name."""


class TableSignature(wiring.Signature):
    """The host's side of a table. The host writes or reads one word per cycle.

    Parameters
    ----------
    shape : ShapeLike
        The shape of a word.
    depth : int
        The number of words.
    ahead : bool
        Whether the table takes a cycle longer, as in `SlicedMemory`.

    Members
    -------
    addr : Out(ceil_log2(depth))
        The address of a word.
    data : Out(shape)
        The word to be written.
    en : Out(1)
        Writes ``data`` to ``addr``.
    read : Out(1)
        Reads the word at ``addr``.
    answer : In(shape)
        The word that was read, one cycle after ``read``, or two. The machine gets it in this cycle, too.
    """

    def __init__(self, shape: ShapeLike, depth: int, ahead: bool = False):
        self.shape, self.depth, self.ahead = shape, depth, ahead
        members = {"addr": Out(ceil_log2(depth)), "data": Out(shape), "en": Out(1), "read": Out(1)}
        super().__init__(members | {"answer": In(shape)})


class TableRead(NamedTuple):
    """The machine's side of a table.

    If ``en`` is high, ``data`` is the word at ``addr`` one cycle later, or two where the table is ``ahead``.
    Otherwise it stays as it is.
    """

    addr: Signal
    data: Signal | View
    en: Signal


def table_ports(tables: Tables, ahead: Collection[str] = ()) -> dict[str, wiring.Member]:
    """The ports of a component through which the host reaches its tables."""
    return {name: In(TableSignature(shape, depth, name in ahead)) for name, (shape, depth) in tables.items()}


def table_memories(
    m: Module, component: wiring.Component, tables: Tables, busy: Collection[str] = ()
) -> list[TableRead]:
    """Make the memories of a component's `table_ports`. Returns the machine's side of each.

    Both sides share an address, and so the port of a block RAM and its wires. The tables ``busy`` have two,
    because the machine reads them while the host writes.
    """
    reads = []
    for name, (shape, depth) in tables.items():
        host = getattr(component, name)
        m.submodules[name] = words = SlicedMemory(shape, depth, ahead=host.signature.ahead)
        own = TableRead(Signal(ceil_log2(depth)), words.read.data, Signal(init=1))
        of_host = host.read if name in busy else host.read | host.en
        address = Signal.like(own.addr)
        m.d.comb += [
            address.eq(Mux(of_host, host.addr, own.addr)),
            words.write.addr.eq(host.addr if name in busy else address),
            words.write.data.eq(host.data),
            words.write.en.eq(host.en),
            words.read.addr.eq(address),
            words.read.en.eq(host.read | own.en),
            host.answer.eq(own.data),
        ]
        reads.append(own)
    return reads
