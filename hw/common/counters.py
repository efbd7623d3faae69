"""Cycle counters, one for each operation, that the host reads at any time."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.sizes import check_positive

COUNTER_BITS = 32
"""Bits of what is counted over an image, such as its cycles: a word of a result."""


class Counters(wiring.Component):
    """A set of counters, one of which counts each cycle. They start at 0 and wrap around.

    Parameters
    ----------
    count : int
        How many counters there are.
    bits : int
        The width of each counter.

    Members
    -------
    index : In(range(count))
        The counter to which this cycle adds 1. It is read in every cycle.
    addr : In(range(count))
        The counter that the host asks for.
    answer : Out(bits)
        The value of counter ``addr`` one cycle later. It includes every cycle before the one in which
        ``addr`` was given.
    """

    def __init__(self, count: int, bits: int):
        check_positive("Counters", count=count, bits=bits)
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
