"""Pooling: the sum over the tokens in every lane, handed on a lane a cycle."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2


class Pool(wiring.Component):
    """``sums`` = Σ_n ``x`` of each of the first ``count`` lanes (`arithmetic.pool`), lane 0 first.

    A token is taken in every cycle with ``enable`` high, ``begins`` with the first of a tile and ``ends``
    with its last; then the sums leave, and the next tile must not begin before they have. ``count`` comes
    with the last token.
    """

    def __init__(self, lanes: int, wide: int, max_tokens: int):
        self.lanes = lanes
        self._sum = signed(wide + ceil_log2(max_tokens))
        super().__init__(
            {
                "enable": In(1),
                "begins": In(1),
                "ends": In(1),
                "count": In(range(lanes + 1)),
                "x": In(data.ArrayLayout(signed(wide), lanes)),
                "sums": Out(stream.Signature(self._sum)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        sums = [Signal(self._sum, name=f"sum_{lane}") for lane in range(self.lanes)]
        left = Signal.like(self.count)
        m.d.comb += [self.sums.p.eq(sums[0]), self.sums.valid.eq(left != 0)]
        with m.If(self.enable):
            for total, x in zip(sums, self.x, strict=True):
                m.d.sync += total.eq(Mux(self.begins, 0, total) + x)
            with m.If(self.ends):
                m.d.sync += left.eq(self.count)
        with m.Elif(self.sums.valid & self.sums.ready):
            m.d.sync += left.eq(left - 1)
            m.d.sync += [total.eq(following) for total, following in zip(sums, [*sums[1:], 0], strict=True)]
        return m
