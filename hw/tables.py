"""Memories that the host fills, and reads back while the machine rests."""

from collections.abc import Mapping
from typing import NamedTuple

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import wiring
from amaranth.lib.data import View
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

SHALLOW = 128
"""Words of a memory up to which lookup tables are a better place for it than block RAMs, which it would leave
mostly empty."""


def sized_memory(shape: ShapeLike, depth: int) -> Memory:
    """A memory; synthesis is told if it is shallow."""
    return Memory(
        shape=shape, depth=depth, init=[], attrs={"ram_style": "distributed"} if depth <= SHALLOW else {}
    )


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
        m.submodules[name] = words = sized_memory(shape, depth)
        host, write, read = getattr(component, name), words.write_port(), words.read_port()
        own = TableRead(Signal.like(read.addr), read.data, Signal(init=1))
        m.d.comb += [
            write.addr.eq(host.addr),
            write.data.eq(host.data),
            write.en.eq(host.en),
            read.addr.eq(Mux(host.read, host.addr, own.addr)),
            read.en.eq(host.read | own.en),
            host.answer.eq(read.data),
        ]
        reads.append(own)
    return reads
