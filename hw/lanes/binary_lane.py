"""One lane of the array: K weight bits at hand, K more being loaded behind them, and a distance a cycle."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.lanes.hamming import HammingDistance, hamming_latency


def lane_latency(width: int) -> int:
    """Cycles that a `BinaryLane` takes."""
    return hamming_latency(width // 2)


class BinaryLane(wiring.Component):
    """Counts the bits in which the activation word differs from the lane's weights, in either half.

    ``low`` and ``high`` count over the word's lower and upper half, `latency` cycles behind ``activation``,
    one word a cycle, always ready. With H = low + high, the dot product of the signs is K − 2·H.

    The next weights, ``following``, come in behind the current ones: whole with ``load``, or bit by bit with
    ``shift``, which moves the highest ``value_bits`` of them down by one. The first bit of them comes with
    ``begin``: then all others become 0. ``ones`` is the number of ones among them, from the cycle after a
    bit on; a load leaves it as it is. ``swap`` makes the next weights current for the activation of the
    cycle after.
    """

    def __init__(self, width: int, value_bits: int):
        if not (isinstance(width, int) and width >= 2 and width % 2 == 0):
            raise ValueError(f"BinaryLane width must be an even integer of at least 2, not {width!r}")
        if not (isinstance(value_bits, int) and 1 <= value_bits <= width):
            raise ValueError(
                f"BinaryLane value_bits must be an integer from 1 to {width}, not {value_bits!r}"
            )
        self.width, self.value_bits = width, value_bits
        self._halves = HammingDistance(width // 2), HammingDistance(width // 2)
        distance = (width // 2).bit_length()
        super().__init__(
            {
                "activation": In(width),
                "load": In(1),
                "weights": In(width),
                "shift": In(1),
                "begin": In(1),
                "bit": In(1),
                "swap": In(1),
                "following": Out(width),
                "ones": Out(range(value_bits + 1)),
                "low": Out(distance),
                "high": Out(distance),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from ``activation`` to the counts."""
        return lane_latency(self.width)

    def elaborate(self, platform):
        m = Module()
        current, following = (Signal(self.width, reset_less=True) for _ in range(2))
        ones = Signal.like(self.ones, reset_less=True)
        m.d.comb += [self.following.eq(following), self.ones.eq(ones)]
        values, others = following[-self.value_bits :], following[: -self.value_bits]
        with m.If(self.load):
            m.d.sync += following.eq(self.weights)
        with m.Elif(self.shift):
            # Where rows of attention are short, this saves a LUT4 a bit of the others.
            m.d.sync += values.eq(Cat(values[1:] & (~self.begin).replicate(self.value_bits - 1), self.bit))
            with m.If(self.begin):
                m.d.sync += others.eq(0)
        with m.If(self.shift):
            # More tokens than a word has bits may stream: those that leave it do not count.
            # One addition of 1, 0 or −1.
            leaves = values[0] & ~self.begin
            step = Cat(self.bit ^ leaves, leaves & ~self.bit).as_signed()
            m.d.sync += ones.eq(Mux(self.begin, 0, ones) + step)
        with m.If(self.swap):
            m.d.sync += current.eq(following)

        half = self.width // 2
        for place, (distance, count) in enumerate(zip(self._halves, (self.low, self.high), strict=True)):
            m.submodules[f"half_{place}"] = distance
            part = slice(place * half, (place + 1) * half)
            m.d.comb += [
                distance.a.eq(self.activation[part]),
                distance.b.eq(current[part]),
                count.eq(distance.distance),
            ]
        return m
