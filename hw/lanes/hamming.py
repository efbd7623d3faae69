"""The Hamming distance of two words: the bits in which they differ, counted."""

from amaranth.hdl import Cat, Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.pipeline import streamed
from haarlequin.hw.common.sizes import check_positive
from haarlequin.hw.families.carry import Adders, plus, xors
from haarlequin.hw.families.ecp5 import ECP5
from haarlequin.hw.lanes.popcount import Popcount, popcount_latency


def hamming_latency(width: int) -> int:
    """Cycles that a `HammingDistance` takes, on every family."""
    return max(1 + popcount_latency(width), _tree_depth(width))


class HammingDistance(wiring.Component):
    """``distance`` = the number of bits in which ``a`` and ``b`` differ, `latency` cycles later, one a cycle.

    Elsewhere than on an ECP5 the differences wait in a register and go into a `Popcount`. An ECP5 adds two
    differences and a carry in each of its LUT4: a tree of additions, whose carries are differences, too, with
    a register after each addition.
    """

    def __init__(self, width: int):
        check_positive("HammingDistance", width=width)
        self.width = width
        super().__init__({"a": In(width), "b": In(width), "distance": Out(width.bit_length())})

    @property
    def latency(self) -> int:
        """Cycles from ``a`` and ``b`` to ``distance``."""
        return hamming_latency(self.width)

    def elaborate(self, platform):
        m = Module()
        if getattr(platform, "family", None) == ECP5.name:
            depth, total = _tree_depth(self.width), Cat(_Tree(m, self.a, self.b).bits)
            m.d.comb += self.distance.eq(streamed(m, total, self.latency - depth))
            return m
        m.submodules.popcount = popcount = Popcount(self.width)
        m.d.comb += popcount.bits.eq(streamed(m, self.a ^ self.b))
        m.d.comb += self.distance.eq(streamed(m, popcount.count, self.latency - 1 - popcount.latency))
        return m


def _room(depth: int) -> int:
    """How many bits a tree of so many additions in a row can count: three, or two trees and a carry."""
    return (2 << depth) - 1


def _tree_depth(width: int) -> int:
    return next(depth for depth in range(1, width + 1) if _room(depth) >= width)


class _Tree:
    """The additions of a distance in the module ``m``; ``bits`` of the sum, the lowest first.

    The differences that an addition at depth d adds wait d − 1 cycles, as words and not as sums, so that
    the carry cell makes them of both words itself.
    """

    def __init__(self, m: Module, a: Value, b: Value):
        self._m, self._late = m, [(a, b)]
        self._left = iter(range(len(a)))
        self._adders = Adders(m, "tree")
        self.bits = self._count(len(a), _tree_depth(len(a)))
        self._adders.close()

    def _pair(self, depth: int) -> tuple[Value, Value]:
        """The next two bits to be compared, as they are ``depth`` − 1 cycles later."""
        while len(self._late) < depth:
            a, b = self._late[-1]
            self._late.append((streamed(self._m, a), streamed(self._m, b)))
        place, (a, b) = next(self._left), self._late[depth - 1]
        return a[place], b[place]

    def _count(self, width: int, depth: int) -> list[Value]:
        if width == 1:
            a, b = self._pair(depth)
            return [streamed(self._m, a ^ b)]
        if width <= 3:
            carry = self._pair(depth) if width == 3 else None
            sums = self._adders.add([xors(self._pair(depth), self._pair(depth))], carry)
        else:
            larger = min(_room(depth - 1), width - 1)
            joins = width - larger > 1
            more, fewer = (self._count(size, depth - 1) for size in (larger, width - larger - joins))
            fewer += [None] * (len(more) - len(fewer))
            halves = [plus(*pair) for pair in zip(more, fewer, strict=True)]
            sums = self._adders.add(halves, self._pair(depth) if joins else None)
        return list(streamed(self._m, Cat(sums[: width.bit_length()])))
