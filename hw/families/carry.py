"""The carry cells of an ECP5 as adders of a few bits that follow one another in one chain."""

from collections.abc import Callable

from amaranth.hdl import Const, Instance, Module, Signal, Value

LONGEST = 48
"""Half cells in a chain at most: the placer finds no room for longer ones near what they belong to."""

Half = tuple[int, Value | int, Value | int, Value | int, Value | int]
"""Half of a CCU2C: its INIT, and its inputs A, B, C and D."""


def _init(propagate: Callable[[int, int, int, int], bool | int]) -> int:
    """The INIT of a half cell whose sum is ``propagate`` of A, B, C and D, xor the carry.

    The carry goes on where that is 1. Where it is 0, the next carry is the INIT's entry for A, B and C = D =
    0 (FPGA-TN-02201, and yosys' ``ccu2c_sim.vh``).
    """
    return sum(bool(propagate(i & 1, i >> 1 & 1, i >> 2 & 1, i >> 3 & 1)) << i for i in range(16))


# An input that is not needed is 1, because a constant 0 would need a wire.
_JOIN = _init(lambda a, b, c, d: a ^ b if not (c or d) else 0)
_NONE = _init(lambda a, b, c, d: 0)
_XORS = _init(lambda a, b, c, d: a ^ b ^ c ^ d)
_SUM = _init(lambda a, b, c, d: a ^ c if d else a)
_ALONE = _init(lambda a, b, c, d: a)


def xors(first: tuple[Value, Value], second: tuple[Value, Value]) -> Half:
    """A half cell that adds a ^ b of both pairs."""
    return _XORS, *first, *second


def plus(first: Value, second: Value | None) -> Half:
    """A half cell that adds two bits."""
    return (_ALONE, first, 1, 1, 1) if second is None else (_SUM, first, 1, second, 1)


class Adders:
    """Additions, each of some bits and a carry of one, that share their chains: `close` ends the last one.

    The first half cell of an addition hands out the carry of the addition before, and makes a new one. So an
    addition of n bits takes n + 1 half cells, or LUT4, and its carry may be the xor of two further bits. The
    ends of a chain take none, because nextpnr gives each chain a cell for its first carry and one for its
    last, whether they are needed or not.
    """

    def __init__(self, m: Module, name: str):
        self._m, self._name, self._chains = m, name, 0
        self._halves: list[tuple[Half, Signal]] = []
        self._carry: Signal | None = None

    def add(self, halves: list[Half], carry: tuple[Value, Value] | None = None) -> list[Value]:
        """The bits of a sum, the lowest first: one for each of ``halves``, and the last carry.

        ``carry`` is a pair of bits whose xor is added, too.
        """
        if len(self._halves) + len(halves) + 2 > LONGEST:
            self.close()
        if carry or self._halves:
            self._hand_out(self._half((_JOIN, *carry, 1, 1) if carry else (_NONE, 1, 1, 1, 1)))
        sums: list[Value] = [self._half(half) for half in halves]
        self._carry = Signal(name=f"{self._name}_carry")
        return [*sums, self._carry]

    def close(self) -> None:
        """Make the cells of the chain at hand."""
        if not self._halves:
            return
        if len(self._halves) % 2:
            self._hand_out(self._half((_NONE, 1, 1, 1, 1)))
        pairs = list(zip(self._halves[::2], self._halves[1::2], strict=True))
        carry: dict[str, Signal | Const] = {"i_CIN": Const(0)}
        for number, pair in enumerate(pairs):
            ports: dict[str, Value | int | str] = {}
            for place, ((init, *inputs), total) in enumerate(pair):
                ports[f"p_INIT{place}"] = Const(init, 16)
                ports[f"p_INJECT1_{place}"] = "NO"
                ports |= {f"i_{name}{place}": value for name, value in zip("ABCD", inputs, strict=True)}
                ports[f"o_S{place}"] = total
            ports |= carry
            ports["o_COUT"] = here = Signal(name=f"{self._name}_chain")
            carry = {"i_CIN": here}
            self._m.submodules[f"{self._name}_{self._chains}_{number}"] = Instance("CCU2C", **ports)
        self._hand_out(here)
        self._chains += 1
        self._halves = []

    def _half(self, half: Half) -> Signal:
        total = Signal(name=f"{self._name}_sum")
        self._halves.append((half, total))
        return total

    def _hand_out(self, join: Signal) -> None:
        if self._carry is not None:
            self._m.d.comb += self._carry.eq(join)
        self._carry = None
