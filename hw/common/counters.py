"""Cycle counters, one for each operation, that the host reads at any time."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


class Counters(wiring.Component):
    """Every cycle adds 1 to the one of ``count`` counters that ``index`` names. They are ``bits`` wide, start
    at 0 and wrap around.

    ``answer`` is what counter ``addr`` was a cycle before: how many of the cycles before that one it counted.
    """

    def __init__(self, count: int, bits: int):
        for name, value in (("count", count), ("bits", bits)):
            if not (isinstance(value, int) and value >= 1):
                raise ValueError(f"Counters {name} must be a positive integer, not {value!r}")
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
