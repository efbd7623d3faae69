"""A table of constants, made of lookup tables."""

from collections.abc import Sequence

from amaranth.hdl import Module, Signal, Value


def lookup(m: Module, index: Value, values: Sequence[int]) -> Signal:
    """A signal with the element of ``values`` at ``index``, or 0 if there is none."""
    value = Signal(range(max(values) + 1))
    with m.Switch(index):
        for i, constant in enumerate(values):
            with m.Case(i):
                m.d.comb += value.eq(constant)
    return value
