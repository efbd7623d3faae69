"""Delays of a pipeline that never stalls."""

from amaranth.hdl import Module, Signal, Value


def registered(m: Module, value: Value, cycles: int = 1) -> Value:
    """``value`` as it was so many cycles ago; 0 after a reset."""
    for _ in range(cycles):
        register = Signal(Value.cast(value).shape())
        m.d.sync += register.eq(value)
        value = register
    return value
