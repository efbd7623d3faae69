"""Delays of a pipeline that never stalls, and registers on the way to the lanes."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data

GROUP = 8
"""Lanes that share a register of what goes to all lanes: a wire to them stays in their neighbourhood."""

SPREAD = 1
"""Cycles that `spread` takes."""

KEPT = "near_lanes_"
"""How the names of its registers begin. Synthesis would make one of them, because all have the same value:
`hw.families.family.PREPARE` forbids that.
"""


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


def lane_groups(lanes: int, size: int = GROUP) -> list[range]:
    """The lanes of each group of ``size``; the last one may have fewer."""
    return [range(first, min(first + size, lanes)) for first in range(0, lanes, size)]


def spread(m: Module, value: Value, lanes: int, reset_less: bool = False, size: int = GROUP) -> list[Signal]:
    """``value`` for each lane, a cycle later, out of a register for each group of ``size`` lanes.

    As in `registered`; or, for data that comes with a valid flag, as in `streamed`.
    """
    copies = []
    for number, group in enumerate(lane_groups(lanes, size)):
        copy = Signal(Value.cast(value).shape(), name=f"{KEPT}{number}", reset_less=reset_less)
        m.d.sync += copy.eq(value)
        copies += [copy] * len(group)
    return copies


def lane_words(
    m: Module, word: Value | data.View, lanes: int, load: Value, take: Value
) -> list[Signal | data.View]:
    """A word of its own for each lane, while the next one is on its way.

    The next ``word`` of a lane comes in a cycle with ``load``, lane 0's first. It enters at the last lane,
    and each further load moves it to the lane before: wires from one place to all lanes would be longer.
    Two cycles after ``take`` the next words are the lanes' own; the next load may begin with it.
    """
    shape = word.shape() if isinstance(word, data.View) else Value.cast(word).shape()
    word, loads, takes = streamed(m, word), spread(m, load, lanes), spread(m, take, lanes)
    own = []
    for lane in reversed(range(lanes)):
        following, current = Signal(shape, reset_less=True), Signal(shape, reset_less=True)
        with m.If(loads[lane]):
            m.d.sync += following.eq(word)
        with m.If(takes[lane]):
            m.d.sync += current.eq(following)
        own.append(current)
        word = following
    return own[::-1]
