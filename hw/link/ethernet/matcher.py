"""Bytes of a frame that must have certain values."""

from collections.abc import Mapping

from amaranth.hdl import Array, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Matcher(wiring.Component):
    """Compares some bytes of each frame with what is wanted there.

    Parameters
    ----------
    wanted : Mapping[int, int | tuple[int, int]]
        By the place of a byte in the frame, its value, or a pair of that and a mask of the bits that count.

    Members
    -------
    begin : In(1)
        No byte of a frame has come yet.
    at : In(range(limit))
        The place of the byte, which goes up by one with each; places from ``limit`` on are all ``limit``.
    data : In(8)
        The byte.
    strobe : In(1)
        There is a byte.
    matches : Out(1)
        All bytes so far had their values; valid two cycles after the byte.
    """

    LIMIT = 63
    """The last place, which stands for all that come after it."""

    def __init__(self, wanted: Mapping[int, int | tuple[int, int]]):
        self._wanted = {at: one if isinstance(one, tuple) else (one, 0xFF) for at, one in wanted.items()}
        if any(not 0 <= at < self.LIMIT for at in self._wanted):
            raise ValueError(f"places must be below {self.LIMIT}, not {sorted(self._wanted)}")
        super().__init__(
            {
                "begin": In(1),
                "at": In(range(self.LIMIT + 1)),
                "data": In(8),
                "strobe": In(1),
                "matches": Out(1, init=1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        entries = [self._wanted.get(at, (0, 0)) for at in range(self.LIMIT + 1)]
        values, masks = (Array(Const(entry[part], 8) for entry in entries) for part in (0, 1))
        differs = Signal()
        m.d.sync += differs.eq(self.strobe & (((self.data ^ values[self.at]) & masks[self.at]) != 0))
        m.d.sync += self.matches.eq(self.begin | (self.matches & ~differs))
        return m
