"""One lane of the array: K weight bits at hand, K more being loaded behind them, and a masked dot
product a cycle.
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.pipeline import streamed
from haarlequin.hw.lanes.popcount import Popcount, popcount_latency


def lane_latency(width: int) -> int:
    """Cycles that a `BinaryLane` takes."""
    return 1 + popcount_latency(width // 2)


class BinaryLane(wiring.Component):
    """Counts the agreements of the activation word with the lane's weights where the mask is 1, in either
    half.

    ``low`` and ``high`` count over the word's lower and upper half, `latency` cycles behind ``activation``
    and ``mask``, one word a cycle, always ready. With n = low + high and k the ones of the mask, the dot
    product of the signs is 2·n − k; a mask of Â with an activation of ones makes n = popcount(Â & V).

    The next weights, ``following``, come in behind the current ones: whole with ``load``, or bit by bit with
    ``shift``, which moves the highest ``value_bits`` of them down and leaves the others. ``swap`` makes them
    current for the activation of the cycle after.
    """

    def __init__(self, width: int, value_bits: int):
        if not (isinstance(width, int) and width >= 2 and width % 2 == 0):
            raise ValueError(f"BinaryLane width must be an even integer of at least 2, not {width!r}")
        if not (isinstance(value_bits, int) and 1 <= value_bits <= width):
            raise ValueError(
                f"BinaryLane value_bits must be an integer from 1 to {width}, not {value_bits!r}"
            )
        self.width, self.value_bits = width, value_bits
        self._halves = Popcount(width // 2), Popcount(width // 2)
        count = width.bit_length() - 1
        super().__init__(
            {
                "activation": In(width),
                "mask": In(width),
                "load": In(1),
                "weights": In(width),
                "shift": In(1),
                "bit": In(1),
                "swap": In(1),
                "following": Out(width),
                "low": Out(count),
                "high": Out(count),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from ``activation`` to the counts."""
        return lane_latency(self.width)

    def elaborate(self, platform):
        m = Module()
        current, following = (Signal(self.width, reset_less=True) for _ in range(2))
        m.d.comb += self.following.eq(following)
        with m.If(self.load):
            m.d.sync += following.eq(self.weights)
        with m.Elif(self.shift):
            # Where rows of attention are short, this saves a LUT4 a bit of the others.
            values = following[-self.value_bits :]
            m.d.sync += values.eq(Cat(values[1:], self.bit))
        with m.If(self.swap):
            m.d.sync += current.eq(following)

        agreements = streamed(m, ~(current ^ self.activation) & self.mask)
        half = self.width // 2
        m.submodules.low, m.submodules.high = low, high = self._halves
        m.d.comb += [low.bits.eq(agreements[:half]), high.bits.eq(agreements[half:])]
        m.d.comb += [self.low.eq(low.count), self.high.eq(high.count)]
        return m
