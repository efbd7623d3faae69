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


def lane_words(
    m: Module, word: Value | data.View, lanes: int, load: Value, take: Value
) -> list[Signal | data.View]:
    """A word of its own for each lane, while the next one is on its way.

    The next ``word`` of a lane comes in a cycle with ``load``, lane 0's first. It enters at the last lane,
    and each further load moves it to the lane before: wires from one place to all lanes would be longer.
    With ``take`` the next words become the lanes' own, from the cycle after on; the next load
    may begin in the same cycle.
    """
    shape = word.shape() if isinstance(word, data.View) else Value.cast(word).shape()
    own = []
    for _ in range(lanes):
        following, current = Signal(shape, reset_less=True), Signal(shape, reset_less=True)
        with m.If(load):
            m.d.sync += following.eq(word)
        with m.If(take):
            m.d.sync += current.eq(following)
        own.append(current)
        word = following
    return own[::-1]
