"""Parts of the blocks that work through one value after the other, such as the embedding and the head.

`counter` walks through tables, `stages` is a pipeline whose stages wait together, and `skid_buffer` ends a
chain of blocks that wait for each other.
"""

from collections.abc import Callable

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import stream

ALWAYS = Const(1)


def counter(
    m: Module, limit: Signal, enable: Value, step: int = 1, inner: Value = ALWAYS
) -> tuple[Signal, Signal]:
    """A counter that can be nested: it takes the values 0, ``step``, 2 · ``step``, … below ``limit``.

    Parameters
    ----------
    limit : Signal
        All values are below it. It must not change while the counter counts, nor in the cycle before, because
        the end of the count is found one cycle ahead.
    enable : Value, 1 bit
        The counter advances, or returns to 0 after its last value, in a cycle in which this is high and the
        inner counter is at its last value. All nested counters share one ``enable``. It may arrive late in
        the cycle, because no other logic of the counters depends on it.
    step : int
        The distance between two values.
    inner : Value, 1 bit
        The ``last`` of the counter within this one. Without it the counter is the innermost.

    Returns
    -------
    count : Signal
        The present value.
    last : Signal, 1 bit
        Whether this counter and all those within it are at their last value.
    """
    count, ends, last = Signal(limit.shape()), Signal(), Signal()
    following = count + step
    m.d.comb += last.eq(inner & ends)
    m.d.sync += ends.eq(following >= limit)
    with m.If(enable & inner):
        m.d.sync += count.eq(Mux(ends, 0, following))
        m.d.sync += ends.eq(Mux(ends, step >= limit, following + step >= limit))
    return count, last


def skid_buffer(m: Module, source: stream.Interface) -> stream.Interface:
    """The stream ``source`` one cycle later, with the same throughput of one payload per cycle.

    ``source.ready`` comes from a register and does not depend on the ``ready`` of the returned stream in the
    same cycle. The buffer has two places, so that a payload is not lost which arrives while the register
    still says ready.
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
    """A function ``stage(value, count=1)`` that delays ``value`` by ``count`` moves.

    A move is a cycle in which ``move`` is high; in all other cycles the registers keep what they have. Call
    ``stage`` outside of any ``m.If``, because its condition would hold the registers too. With
    ``reset_less`` a reset leaves them as they are, too: a multiplier of an ECP5 has such registers itself.
    """

    def stage(value: Value, count: int = 1, reset_less: bool = False) -> Signal:
        for _ in range(count):
            register = Signal(Value.cast(value).shape(), reset_less=reset_less)
            with m.If(move):
                m.d.sync += register.eq(value)
            value = register
        return value

    return stage
