"""Pooling: the sum over the tokens in every lane, handed on a lane a cycle."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2


class Pool(wiring.Component):
    """``sums`` = Σ_n ``x`` of each of the first ``count`` lanes (`arithmetic.pool`), lane 0 first.

    A token of ``wide`` bits a lane is taken in every cycle with ``enable`` high, gaps allowed: ``begins``
    comes with the first of a tile's at most ``max_tokens``, ``ends`` and ``count``, at least 1, with its
    last. From the cycle after that one on the sums are offered, one a cycle; each stays until it is taken.
    The next tile's first token must come behind the cycle in which the last sum is taken.
    """

    def __init__(self, lanes: int, wide: int, max_tokens: int):
        for name, value in (("lanes", lanes), ("wide", wide), ("max_tokens", max_tokens)):
            if not (isinstance(value, int) and value >= 1):
                raise ValueError(f"Pool {name} must be a positive integer, not {value!r}")
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
        with m.If(self.enable):
            for total, x in zip(sums, self.x, strict=True):
                m.d.sync += total.eq(Mux(self.begins, 0, total) + x)
            with m.If(self.ends):
                m.d.sync += left.eq(self.count)
        with m.Elif(self.sums.valid & self.sums.ready):
            m.d.sync += left.eq(left - 1)
            m.d.sync += [total.eq(following) for total, following in zip(sums, [*sums[1:], 0], strict=True)]
        return m
