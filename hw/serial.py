"""What the serial engines beside the lanes are made of: memories that the host fills, counters that walk
through them, and stages that wait together.
"""

from collections.abc import Callable, Mapping

from amaranth.hdl import Module, Mux, ShapeLike, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory, ReadPort, WritePort
from amaranth.lib.wiring import Out
from amaranth.utils import ceil_log2

Tables = Mapping[str, tuple[ShapeLike, int]]
"""Shape of a word and number of words, by name."""


def table_ports(tables: Tables) -> dict[str, wiring.Member]:
    """The ports of a component by which the host fills its tables: where ``en`` is high, ``data`` goes to
    ``addr``, a word a cycle.
    """
    return {
        name: Out(WritePort.Signature(addr_width=ceil_log2(depth), shape=shape))
        for name, (shape, depth) in tables.items()
    }


def table_memories(m: Module, component: wiring.Component, tables: Tables) -> list[ReadPort]:
    """The memories behind a component's `table_ports`: their read ports, data a cycle behind the address."""
    reads = []
    for name, (shape, depth) in tables.items():
        m.submodules[name] = memory = Memory(shape=shape, depth=depth, init=[])
        wiring.connect(m, wiring.flipped(getattr(component, name)), memory.write_port())
        reads.append(memory.read_port())
    return reads


def counter(m: Module, limit: Signal, enable: Value, step: int = 1) -> tuple[Signal, Signal]:
    """A count of 0, ``step``, … below ``limit`` that goes on, or starts anew, where ``enable`` is high; and
    whether it ends there, which is the ``enable`` of the counter around it.
    """
    count, end = Signal(limit.shape()), Signal()
    following = count + step
    m.d.comb += end.eq(enable & (following >= limit))
    with m.If(enable):
        m.d.sync += count.eq(Mux(end, 0, following))
    return count, end


def stages(m: Module, move: Value) -> Callable[..., Signal]:
    """stage(value, count=1): ``value`` as many moves later, a move being a cycle with ``move`` high.

    To be called outside of any ``m.If``, which would hold the registers as well.
    """

    def stage(value: Value, count: int = 1) -> Signal:
        for _ in range(count):
            register = Signal(Value.cast(value).shape())
            with m.If(move):
                m.d.sync += register.eq(value)
            value = register
        return value

    return stage
