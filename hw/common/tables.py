"""Tables, which are memories that the host fills and reads back while the machine rests."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import wiring
from amaranth.lib.data import View
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.common.sliced_memory import SlicedMemory

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
