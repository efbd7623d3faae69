"""Thermometer codes: as many ones as a number says."""

from amaranth.hdl import Cat, Const, Value

_FINE = 3
"""Bits of a number that are decoded for themselves. A comparison for each place takes six times the LUT4."""


def above(count: Value, number: int) -> Value:
    """Whether ``count``, unsigned, is more than a constant.

    It goes from bit to bit, because yosys makes a carry chain of a comparison, which takes three times as
    much for so few bits.
    """
    if number >> len(count):
        return Const(0)
    result: Value = Const(0)
    for place, bit in enumerate(count):
        result = bit & result if number >> place & 1 else bit | result
    return result


def thermometer(count: Value, size: int) -> Value:
    """``size`` bits, of which bit i is 1 where i < ``count``; ``count`` is unsigned.

    The upper bits of ``count`` choose a group of 8 places, and the lower ones how much of it.
    """
    within = [above(count[:_FINE], i) for i in range(1 << _FINE)]
    groups = []
    for group in range(-(-size >> _FINE)):
        beyond, here = above(count[_FINE:], group), count[_FINE:] == group
        groups += [beyond | (here & each) for each in within]
    return Cat(groups[:size])
