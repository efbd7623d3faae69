"""Delays of a pipeline that never stalls."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data


def registered(m: Module, value: Value | data.View, cycles: int = 1) -> Signal | data.View:
    """``value`` as it was so many cycles ago, a view as a view; 0 after a reset."""
    for _ in range(cycles):
        register = Signal(value.shape() if isinstance(value, data.View) else Value.cast(value).shape())
        m.d.sync += register.eq(value)
        value = register
    return value
