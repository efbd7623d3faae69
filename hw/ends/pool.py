"""Pooling: the sum over the tokens in every lane, handed on a lane a cycle."""

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.common.pipeline import registered, spread, streamed
from haarlequin.hw.common.sizes import check_positive


class Pool(wiring.Component):
    """``sums`` = Σ_n ``x`` of each of the first ``count`` lanes (`arithmetic.pool`), lane 0 first.

    A token of ``wide`` bits a lane is taken in the cycle after every one with ``enable`` high, gaps allowed:
    ``begins`` comes with the ``enable`` of the first of a tile's at most ``max_tokens``, ``ends`` and
    ``count``, at least 1, with that of its last. From two cycles after that one on the sums are offered, one
    a cycle; each stays until it is taken. The next tile's first token must come behind the cycle in which the
    last sum is taken.
    """

    def __init__(self, lanes: int, wide: int, max_tokens: int):
        check_positive("Pool", lanes=lanes, wide=wide, max_tokens=max_tokens)
        self.lanes, self.wide = lanes, wide
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
        begins = spread(m, self.begins, self.lanes)
        enables = spread(m, self.enable, self.lanes)
        taken = self.sums.valid & self.sums.ready
        ends, count = registered(m, self.enable & self.ends), streamed(m, self.count)
        with m.If(ends):
            m.d.sync += left.eq(count)
        with m.Elif(taken):
            m.d.sync += left.eq(left - 1)
        for lane, following in enumerate([*sums[1:], Const(0)]):
            with m.If(enables[lane]):
                m.d.sync += sums[lane].eq(Mux(begins[lane], 0, sums[lane]) + self.x[lane])
            with m.Elif(taken):
                m.d.sync += sums[lane].eq(following)
        return m
