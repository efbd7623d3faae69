"""DIBA's local term in all lanes: a `LocalConvolution` for each group of them, with its weights."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.pipeline import lane_groups, lane_words, registered, spread, streamed
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.lanes.loader import local_layout
from haarlequin.hw.lanes.local_convolution import LocalConvolution


class LocalUnit(wiring.Component):
    """``centre`` = V_i of every lane, and ``extra`` = its local convolution + V_i where a pass ``joins`` it,
    otherwise 0.

    A token's ``v`` comes a cycle after its ``enable``, ``columns`` a cycle before that, and ``first`` as for
    a `LocalConvolution`, but two cycles before its token is taken. ``centre`` comes `latency` + ``wait``
    cycles after the ``v`` that completes its window, ``extra`` a cycle later, and ``joins`` must come a cycle
    before ``centre``.

    A lane's next weights and shift come in ``local`` with ``load``, as in `lane_words`; ``take`` comes a
    cycle before the ``v`` of the first token that has them.
    """

    def __init__(self, config: AcceleratorConfig, wait: int):
        self.config, self.wait = config, wait
        columns, shift = config.max_columns, config.widths.local_shift
        self._groups = [
            LocalConvolution(len(group), config.theta, columns, shift) for group in lane_groups(config.lanes)
        ]
        super().__init__(
            {
                "enable": In(1),
                "first": In(1),
                "columns": In(range(columns + 1)),
                "v": In(config.lanes),
                "taps": In(config.theta**2),
                "load": In(1),
                "local": In(local_layout(config)),
                "take": In(1),
                "joins": In(1),
                "centre": Out(config.lanes),
                "extra": Out(data.ArrayLayout(signed(config.widths.wide), config.lanes)),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles of a `LocalConvolution`."""
        return self._groups[0].latency

    def elaborate(self, platform):
        m = Module()
        lanes, late = self.config.lanes, self.latency - 2  # from the use of the weights to that of the shift
        enable, first, columns = (spread(m, port, lanes) for port in (self.enable, self.first, self.columns))
        weights = lane_words(m, self.local.weights, lanes, self.load, self.take)
        word, load, take = (
            streamed(m, self.local.shift, late),
            registered(m, self.load, late),
            registered(m, self.take, late),
        )
        shifts = lane_words(m, word, lanes, load, take)
        sums, centres = [], []
        for number, (local, group) in enumerate(zip(self._groups, lane_groups(lanes), strict=True)):
            m.submodules[f"local_{number}"] = local
            m.d.comb += [
                local.enable.eq(enable[group.start]),
                local.first.eq(first[group.start]),
                local.columns.eq(columns[group.start]),
                local.taps.eq(self.taps),
                local.v.eq(self.v[group.start : group.stop]),
            ]
            for place, lane in enumerate(group):
                m.d.comb += [
                    local.weights[place].eq(weights[lane]),
                    local.local_shift[place].eq(shifts[lane]),
                ]
                sums.append(local.sum[place])
            centres.append(local.centre)
        centre = registered(m, Cat(centres), self.wait)
        extra = Signal(self.extra.shape(), reset_less=True)
        for lane, joins in enumerate(spread(m, self.joins, lanes)):
            total = streamed(m, sums[lane], self.wait) + Mux(centre[lane], 1, -1)
            m.d.sync += extra[lane].eq(Mux(joins, total, 0))
        m.d.comb += [self.centre.eq(centre), self.extra.eq(extra)]
        return m
