"""Delays of a pipeline that never stalls."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data


def registered(m: Module, value: Value | data.View, cycles: int = 1) -> Signal | data.View:
    """``value`` as it was ``cycles`` cycles ago, and 0 after a reset. The delay of a view is a view."""
    return _delayed(m, value, cycles, reset_less=False)


def streamed(m: Module, value: Value | data.View, cycles: int = 1) -> Signal | data.View:
    """The same for data that comes with a valid flag: a reset leaves its registers as they are.

    The value after a reset has no meaning, and a reset would need a wire to each of these registers.
    """
    return _delayed(m, value, cycles, reset_less=True)


def _delayed(m: Module, value: Value | data.View, cycles: int, reset_less: bool) -> Signal | data.View:
    for _ in range(cycles):
        shape = value.shape() if isinstance(value, data.View) else Value.cast(value).shape()
        register = Signal(shape, reset_less=reset_less)
        m.d.sync += register.eq(value)
        value = register
    return value


def chained(m: Module, word: Value | data.View, lanes: int) -> list[Value | data.View]:
    """``word`` as each lane sees it, when it enters at the last lane and takes one cycle from lane to lane.

    After ``lanes`` words in consecutive cycles, lane 0 has the first of them and the last lane the last one,
    all in the same cycle. Each lane has wires to its neighbour only; a word that goes to all lanes at once
    would need wires from one place to all others.
    """
    words = [word]
    for _ in range(lanes - 1):
        words.append(streamed(m, words[-1]))
    return words[::-1]
