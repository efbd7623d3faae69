"""Tiles of scores: the words of a payload, and what a tree over its lanes makes of them."""

from collections.abc import Callable, Sequence

from amaranth.hdl import Module, Value

from haarlequin.hw.common.pipeline import streamed


def words(value: Value, count: int) -> list[Value]:
    """``value``, cut into ``count`` words of the same width, the lowest first.

    This is not an `ArrayLayout`, because Amaranth would call its elements ``scores[0]``. The abc9 of yosys
    0.70 takes that for a bit of ``scores`` and stops.
    """
    width = len(value) // count
    return [value.word_select(i, width) for i in range(count)]


def tree(m: Module, values: Sequence[Value], join: Callable[[Value, Value], Value]) -> Value:
    """All values joined pair by pair into one, ⌈log2⌉ of their number cycles later."""
    while len(values) > 1:
        pairs = [streamed(m, join(a, b)) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = pairs + [streamed(m, value) for value in values[2 * len(pairs) :]]
    return values[0]
