"""What the serial engines beside the lanes are made of: counters that walk through tables, and stages that
wait together.
"""

from collections.abc import Callable

from amaranth.hdl import Module, Mux, Signal, Value


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
