"""What the serial engines beside the lanes are made of: counters that walk through tables, stages that wait
together, and places in a stream where waiting ends.
"""

from collections.abc import Callable

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import stream

ALWAYS = Const(1)


def counter(
    m: Module, limit: Signal, enable: Value, step: int = 1, inner: Value = ALWAYS
) -> tuple[Signal, Signal]:
    """A count of 0, ``step``, … below ``limit``, and whether it is at its last, as is the ``inner`` one
    within it. It goes on, or starts anew, where ``enable`` is high and the inner one is at its last.

    All counters in one another share the ``enable``, which comes late: nothing else waits for it. Whether the
    count is at its last is found a cycle ahead, so the limit must stand still while it counts, and a cycle
    before.
    """
    count, ends, last = Signal(limit.shape()), Signal(), Signal()
    following = count + step
    m.d.comb += last.eq(inner & ends)
    m.d.sync += ends.eq(following >= limit)
    with m.If(enable & inner):
        m.d.sync += count.eq(Mux(ends, 0, following))
        m.d.sync += ends.eq(Mux(ends, step >= limit, following + step >= limit))
    return count, last


def relay(m: Module, source: stream.Interface) -> stream.Interface:
    """The stream a cycle later, as fast; ``source`` is told to wait by a register, whoever takes it here.

    Two places, so that what comes while that register learns of it is not lost.
    """
    out = stream.Signature(source.payload.shape()).create()
    spare, kept = Signal(), Signal.like(Value.cast(source.payload))
    m.d.comb += source.ready.eq(~spare)
    with m.If(~out.valid | out.ready):
        m.d.sync += [out.valid.eq(spare | source.valid), spare.eq(0)]
        m.d.sync += Value.cast(out.payload).eq(Mux(spare, kept, source.payload))
    with m.Elif(~spare):
        m.d.sync += [spare.eq(source.valid), kept.eq(source.payload)]
    return out


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
