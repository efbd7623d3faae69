"""Cycle counters, one for each operation, that the host reads at any time."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


class Counters(wiring.Component):
    """Every cycle counts in the ``bits`` wide counter that ``index`` names; they start at 0 and wrap around.

    ``answer`` is counter ``addr`` a cycle before.
    """

    def __init__(self, count: int, bits: int):
        self.count = count
        super().__init__({"index": In(range(count)), "addr": In(range(count)), "answer": Out(bits)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=len(self.answer), depth=self.count, init=[])
        write, read, host = memory.write_port(), *(memory.read_port(domain="comb") for _ in range(2))
        m.d.comb += [
            read.addr.eq(self.index),
            write.addr.eq(self.index),
            write.data.eq(read.data + 1),
            write.en.eq(1),
            host.addr.eq(self.addr),
        ]
        m.d.sync += self.answer.eq(host.data)
        return m
