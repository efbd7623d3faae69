"""Delays of a pipeline that never stalls."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data


def registered(m: Module, value: Value | data.View, cycles: int = 1) -> Signal | data.View:
    """``value`` as it was so many cycles ago, a view as a view; 0 after a reset."""
    return _delayed(m, value, cycles, reset_less=False)


def streamed(m: Module, value: Value | data.View, cycles: int = 1) -> Signal | data.View:
    """The like of data, which means something only where a flag beside it says so: a reset, which would take
    a wire to every register, leaves it as it is.
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
    """``word`` as it goes from lane to lane, a cycle each, entering at the last of them: `lanes` words one
    behind the other lie in the lanes in their order as the last one of them enters.

    Wires to the neighbour only, where a word to all lanes would take some from one place to all others.
    """
    words = [word]
    for _ in range(lanes - 1):
        words.append(streamed(m, words[-1]))
    return words[::-1]
