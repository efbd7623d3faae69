"""The loader: weights, constants and local weights of a later pass, a lane's a cycle, behind the present."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.pipeline import registered, streamed
from haarlequin.hw.common.tables import table_memories, table_ports
from haarlequin.hw.common.thermometer import thermometer
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.lanes.lane_array import array_latency
from haarlequin.hw.lanes.postprocess import lane_constants
from haarlequin.hw.program import constants_layout, pass_layout


def local_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A channel's share of the local convolution."""
    return data.StructLayout({"weights": config.theta**2, "shift": config.widths.local_shift})


def moves_layout(config: AcceleratorConfig) -> data.ArrayLayout:
    """A channel's moves for the signs of both bands: those of lo for each sign memory, then those of hi."""
    return data.ArrayLayout(config.widths.offset, 4)


def pads(width: int) -> list[int]:
    """What bits of a lane's weights are where they are not used: zeros and ones in turn.

    Where the activation is 0, half of them agree with it and half differ. `balance` is what is left over.
    """
    return [place % 2 for place in range(width)]


def balance(low: int, high: int) -> int:
    """How many more ones than zeros the pads have beside the bits from ``low`` to ``high`` − 1, if K is even.

    An odd ``low`` leaves a zero over, and an odd ``high`` a one.
    """
    return high % 2 - low % 2


class Loader(wiring.Component):
    """Carries out the load part of the pass ``parts``, from ``begin`` on: a lane's words a cycle, lane 0's at
    once.

    Lane i's words are at the bases + i; with ``same_constants`` all lanes take the constants at their base.
    `FETCH` cycles behind a lane's beginning come its ``weights``, with ``load``, and ``local``, with
    ``load_local``. In the cycle before the sum with these weights would leave the array come its
    ``constants``, shifted left as the pass says, with ``load_constants``, or the Haar unit's four ``moves``,
    the constants' lowest bits, with ``load_moves``: by then the pass has taken its own. What the pass does
    not load has its strobe low.

    Where weights are keys, ``keys`` is high with the ``key_address`` of sign memory 1 a cycle behind a lane's
    beginning, and its word must be in ``key`` two cycles after. Its bits are used where ``keys_low`` ≤ bit <
    ``keys_high``; all others become `pads`. The next load may begin in the cycle behind
    the last lane's beginning, `lanes` cycles after this one. The host fills the tables while nothing loads.

    With a ``weight_interval`` there is no table of weights. Then ``weights_lane`` says whose word is needed,
    which must be in ``weights_word`` the cycle after; ``weights_loaded`` is high with the last one.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self._pass = pass_layout(config)
        self._tables = {
            "constants_table": (constants_layout(config), config.constants),
            "local_table": (local_layout(config), config.local),
        }
        self._weights = {} if config.weight_interval else {"weights_table": (config.width, config.weights)}
        super().__init__(
            table_ports(self._weights | self._tables, ahead=self._weights)
            | {
                "weights_lane": Out(range(config.lanes)),
                "weights_word": In(config.width),
                "weights_loaded": Out(1),
                "begin": In(1),
                "parts": In(self._pass),
                "keys": Out(1),
                "key_address": Out(self._pass["signs_1"].shape),
                "key": In(config.width),
                "load": Out(1),
                "load_local": Out(1),
                "weights": Out(config.width),
                "local": Out(local_layout(config)),
                "load_constants": Out(1),
                "load_moves": Out(1),
                "constants": Out(lane_constants(config.widths)),
                "moves": Out(moves_layout(config)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        *weights, constants, local = table_memories(m, self, self._weights | self._tables)
        constant_address = Signal.like(constants.addr)
        behind = array_latency(self.config.width) + 2
        m.d.comb += constants.addr.eq(registered(m, constant_address, behind))
        # Those of weights go into the block RAMs' own registers.
        addresses = [(table.addr, Signal.like(table.addr)) for table in weights]
        m.d.comb += [following.eq(present) for following, present in addresses]
        m.d.sync += [present.eq(following) for following, present in addresses]
        parts, busy, lane = Signal(self._pass), Signal(), Signal(range(self.config.lanes))
        last = lane == self.config.lanes - 1
        with m.If(self.begin):
            m.d.sync += [busy.eq(1), lane.eq(0), parts.eq(self.parts)]
            m.d.comb += [following.eq(self.parts.weights_base) for following, _ in addresses]
            m.d.sync += [
                self.key_address.eq(self.parts.weights_base),
                constant_address.eq(self.parts.constants_base),
                local.addr.eq(self.parts.local_base),
            ]
        with m.Elif(busy):
            m.d.sync += [lane.eq(lane + 1), busy.eq(~last)]
            m.d.comb += [following.eq(present + 1) for following, present in addresses]
            m.d.sync += local.addr.eq(local.addr + 1)
            m.d.sync += self.key_address.eq(self.key_address + 1)
            m.d.sync += constant_address.eq(constant_address + ~parts.same_constants)
        m.d.comb += [
            self.keys.eq(busy & parts.load_keys),
            self.weights_lane.eq(lane),
            self.weights_loaded.eq(busy & last & parts.load_weights),
        ]

        def later(flag, cycles):
            return registered(m, busy & flag, cycles)

        keys, width = registered(m, parts.load_keys, 2), self.config.width
        high, low = (streamed(m, thermometer(bound, width)) for bound in (parts.keys_high, parts.keys_low))
        used = streamed(m, high & ~low)
        key = (self.key & used) | (Cat(Const(bit, 1) for bit in pads(width)) & ~used)
        # What comes out of block RAMs waits in registers that they have themselves on an ECP5.
        word = streamed(m, weights[0].data if weights else self.weights_word)
        m.d.comb += [
            self.weights.eq(streamed(m, Mux(keys, key, word))),
            self.local.eq(streamed(m, local.data, 2)),
            self.load.eq(later(parts.load_weights | parts.load_keys, 3)),
            self.load_local.eq(later(parts.load_local, 3)),
        ]
        stored = streamed(m, constants.data)
        affine, slope = (
            registered(m, getattr(parts, name), 2 + behind) for name in ("affine_shift", "slope_shift")
        )
        m.d.sync += [
            self.constants.a.eq(stored.a << affine),
            self.constants.b.eq(stored.b),
            self.constants.positive.eq(stored.positive << slope),
            self.constants.negative.eq(stored.negative << slope),
            self.constants.offset.eq(stored.offset),
            self.constants.move.eq(stored.move),
            self.moves.eq(stored),
        ]
        m.d.comb += [
            self.load_constants.eq(later(parts.load_constants & ~parts.load_moves, 3 + behind)),
            self.load_moves.eq(later(parts.load_constants & parts.load_moves, 3 + behind)),
        ]
        return m
