"""Counting ones: a tree of full adders, two levels of them between registers."""

from amaranth.hdl import Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.pipeline import streamed
from haarlequin.hw.common.sizes import check_positive

LEVELS_PER_STAGE = 2
"""Full adders in a row between two registers."""


def full_adder_levels(bits: int) -> list[list[int]]:
    """Heights of the stacks of bits of weight 1, 2, 4, … after each level of 3:2 counters, until none exceeds
    two.
    """
    heights, levels = [bits], []
    while max(heights) > 2:
        after = [0] * (len(heights) + 1)
        for place, height in enumerate(heights):
            adders = height // 3
            after[place] += height - 2 * adders
            after[place + 1] += adders
        heights = after if after[-1] else after[:-1]
        levels.append(heights)
    return levels


def popcount_latency(bits: int) -> int:
    """Cycles that a `Popcount` of so many bits takes."""
    return len(full_adder_levels(bits)) // LEVELS_PER_STAGE + 1


class Popcount(wiring.Component):
    """``count`` = number of ones in ``bits``, ``latency`` cycles later, one a cycle.

    Stacks of bits of equal weight are compressed three bits to two by full adders (two LUT4 each) until two
    rows are left, which a carry chain adds; a register stands behind every second level and behind the sum.
    """

    def __init__(self, width: int):
        check_positive("Popcount", width=width)
        self.width = width
        super().__init__({"bits": In(width), "count": Out(width.bit_length())})

    @property
    def latency(self) -> int:
        """Cycles from ``bits`` to ``count``."""
        return popcount_latency(self.width)

    def elaborate(self, platform):
        m = Module()
        stacks: list[list[Value]] = [list(self.bits)]
        for level in range(1, len(full_adder_levels(self.width)) + 1):
            stacks = _add_stacks(stacks)
            if level % LEVELS_PER_STAGE == 0:
                stacks = [[streamed(m, bit) for bit in stack] for stack in stacks]
        rows = [
            sum(stack[row] << i if row < len(stack) else 0 for i, stack in enumerate(stacks))
            for row in (0, 1)
        ]
        m.d.comb += self.count.eq(streamed(m, rows[0] + rows[1]))
        return m


def _add_stacks(stacks: list[list[Value]]) -> list[list[Value]]:
    after: list[list[Value]] = [[] for _ in range(len(stacks) + 1)]
    for weight, stack in enumerate(stacks):
        whole = len(stack) // 3 * 3
        for a, b, c in zip(stack[0:whole:3], stack[1:whole:3], stack[2:whole:3], strict=True):
            after[weight].append(a ^ b ^ c)
            after[weight + 1].append(a & b | a & c | b & c)
        after[weight] += stack[whole:]
    return after if after[-1] else after[:-1]
