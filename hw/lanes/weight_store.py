"""A store of weights outside the lanes, as slow as one asks: it stands in for an SDRAM in simulation."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.tables import table_memories, table_ports
from haarlequin.hw.config import AcceleratorConfig

DELAY = 12
"""Cycles from a request to the first word at the earliest: an SDRAM opens a row first."""


class WeightStore(wiring.Component):
    """Weights in a table that the host fills, and that answers a `TileBuffer`.

    A tile's words come one after the other, each at the earliest ``weight_interval`` cycles after the one
    before; now and then, by a generator of random bits, it takes three times as long.

    Parameters
    ----------
    config : AcceleratorConfig
        The sizes of the machine.

    Members
    -------
    weights_table : In(TableSignature)
        The host's side. It may be used only while no tile is on its way.
    request : In(stream.Signature)
        The address of a tile's first word.
    words : Out(stream.Signature(width))
        The words of the tile; its receiver must be ready.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self._tables = {"weights_table": (config.width, config.weights)}
        super().__init__(
            table_ports(self._tables)
            | {
                "request": In(stream.Signature(range(config.weights))),
                "words": Out(stream.Signature(config.width)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        (table,) = table_memories(m, self, self._tables)
        config, busy = self.config, Signal()
        left, lane = Signal(range(max(DELAY, 3 * config.weight_interval) + 1)), Signal(range(config.lanes))
        # x¹⁶ + x¹⁴ + x¹³ + x¹¹ + 1, of the longest period
        noise = Signal(16, init=1)
        m.d.sync += noise.eq(Cat(noise[15] ^ noise[13] ^ noise[12] ^ noise[10], noise[:15]))
        m.d.comb += self.request.ready.eq(~busy)
        goes = busy & (left == 0)
        m.d.sync += self.words.valid.eq(goes)
        m.d.comb += self.words.p.eq(table.data)
        with m.If(busy & (left != 0)):
            m.d.sync += left.eq(left - 1)
        with m.If(goes):
            m.d.sync += [table.addr.eq(table.addr + 1), lane.eq(lane + 1), busy.eq(lane != config.lanes - 1)]
            m.d.sync += left.eq(config.weight_interval - 1)
            with m.If(noise[:3] == 0):
                m.d.sync += left.eq(3 * config.weight_interval - 1)
        with m.If(self.request.valid & self.request.ready):
            m.d.sync += [table.addr.eq(self.request.p), lane.eq(0), busy.eq(1), left.eq(DELAY - 2)]
        return m
