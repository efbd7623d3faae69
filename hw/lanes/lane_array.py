"""The lanes side by side: one word of activations to all of them, one result from each, every cycle."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.pipeline import GROUP, SPREAD, lane_words, registered, spread, streamed
from haarlequin.hw.common.sizes import check_positive
from haarlequin.hw.lanes.binary_lane import BinaryLane, lane_latency
from haarlequin.hw.lanes.popcount import Popcount
from haarlequin.hw.lanes.postprocess import PostProcess, lane_constants
from haarlequin.models.widths import Widths

STROBED = 256
"""Weight bits whose loading and shifting one register strobes: wires to 2,048 of them took 16 ns."""


def array_latency(width: int) -> int:
    """Cycles from the activation to the distances of all lanes."""
    return SPREAD + lane_latency(width)


class LaneArray(wiring.Component):
    """acc = K + ``balance`` − 2·H + partial + extra in every lane, and its post-processing.

    H counts the bits in which ``activation`` differs from the lane's weights. Over n bits that are in use,
    that is the dot product of their signs, if the others are 0 in the activation, and ``balance`` is by how
    much ones outnumber zeros among the others in the weights (`pads`).

    With ``context`` it is |V| − H + partial + extra, where |V| counts the ones among the weights that were
    shifted in: with a row of Â for an activation that is 2·|Â ∧ V| − |Â| = Σ_j Â_j·V_j. With ``differential``
    it is less by k·V_i, where k counts the ones of the activation, and V_i = ±1 is ``centre``
    (`arithmetic.diba`). Where ``gate`` is 0, partial and extra are all.

    All lanes run in lockstep, one word a cycle, always ready, nothing held up; what is not meant to be used
    is not written anywhere. Cycles behind ``activation``:

    | what                                             | cycles                                  |
    |--------------------------------------------------|-----------------------------------------|
    | ``context``, ``differential``, ``balance`` taken | `operands` − 2                          |
    | ``gate``, ``centre`` taken                       | `operands` − 1                          |
    | ``partial``, ``extra`` taken                     | `operands`                              |
    | ``take`` taken                                   | `operands` + 1                          |
    | ``acc`` out                                      | `operands` + 2                          |
    | ``shortcut`` taken                               | `operands` + 2 + `PostProcess.SHORTCUT` |
    | ``token`` taken                                  | `operands` + 1 + `PostProcess.RESIDUAL` |
    | ``residual`` taken                               | `operands` + 2 + `PostProcess.RESIDUAL` |
    | ``y``, ``bits``, ``clipped`` out                 | `operands` + 2 + `PostProcess.LATENCY`  |

    What goes to all lanes waits in a register for each few of them (`spread`), so that it is used a cycle
    later than it comes: all inputs without a part for each lane. ``clipped`` has a bit for each lane's first
    saturation, then one for each lane's second.

    What is loaded goes from lane to lane, entering at the last: ``load`` takes ``weights`` and moves every
    lane's next weights to the one before it, so that a word a lane, lane 0's first, fills them all.
    ``load_constants`` does the same with ``constants``. The lanes compute with them from the token on that
    has ``take`` a cycle before its ``acc``; the next ones may load from that cycle on. ``shift``, a cycle
    before them, moves each lane's own ``bits`` into the highest ``value_bits`` of its next weights (V, token
    after token, the first with ``begin``); ``swap`` makes the next weights of all lanes current for the
    activation of the next cycle.
    """

    def __init__(self, lanes: int, width: int, value_bits: int, widths: Widths):
        check_positive("LaneArray", lanes=lanes)
        self.lanes, self.width, self.widths = lanes, width, widths
        self._array = [BinaryLane(width, value_bits) for _ in range(lanes)]
        self._post = [PostProcess(widths, widths.wide) for _ in range(lanes)]
        wide = data.ArrayLayout(signed(widths.wide), lanes)
        super().__init__(
            {
                "activation": In(width),
                "load": In(1),
                "weights": In(width),
                "shift": In(1),
                "begin": In(1),
                "swap": In(1),
                "load_constants": In(1),
                "constants": In(lane_constants(widths)),
                "take": In(1),
                "gate": In(lanes),
                "context": In(1),
                "differential": In(1),
                "balance": In(signed(2)),
                "centre": In(lanes),
                "partial": In(wide),
                "extra": In(wide),
                "acc": Out(wide),
                "shortcut": In(wide),
                "residual": In(wide),
                "token": In(signed(widths.offset)),
                "y": Out(wide),
                "bits": Out(lanes),
                "clipped": Out(2 * lanes),
            }
        )

    @property
    def operands(self) -> int:
        """Cycles from ``activation`` to ``partial`` and ``extra``."""
        return array_latency(self.width)

    def elaborate(self, platform):
        m = Module()
        lanes, gate = self.lanes, streamed(m, self.gate)
        k = Mux(self.differential, self._ones(m), 0)
        values = k, -k, self.width + self.balance, self.context, self.token, self.activation
        spreads = [spread(m, value, lanes, reset_less=True) for value in values]
        subtracted, added, unchanged, contexts, tokens, activation = spreads
        few = max(1, STROBED // self.width)
        strobes = {
            name: spread(m, getattr(self, name), lanes, size=min(few, GROUP))
            for name in ("load", "shift", "begin", "swap")
        }
        weights = [*(lane.following for lane in self._array[1:]), streamed(m, self.weights)]
        for name, behind in PostProcess.TAKEN.items():
            word = streamed(m, self.constants[name], behind)
            load, take = (registered(m, strobe, behind) for strobe in (self.load_constants, self.take))
            for post, constant in zip(self._post, lane_words(m, word, lanes, load, take), strict=True):
                m.d.comb += post.constants[name].eq(constant)
        for i, (array, post) in enumerate(zip(self._array, self._post, strict=True)):
            m.submodules[f"array_{i}"], m.submodules[f"post_{i}"] = array, post
            m.d.comb += [
                array.activation.eq(activation[i]),
                array.weights.eq(weights[i]),
                array.bit.eq(post.bit),
                *(getattr(array, name).eq(strobe[i]) for name, strobe in strobes.items()),
                post.acc.eq(self.acc[i]),
                post.shortcut.eq(self.shortcut[i]),
                post.residual.eq(self.residual[i]),
                post.token.eq(tokens[i]),
                self.y[i].eq(post.y),
                self.bits[i].eq(post.bit),
            ]
            dot, others, acc = (Signal(signed(self.widths.wide), reset_less=True) for _ in range(3))
            own = Mux(self.centre[i], added[i].as_signed(), subtracted[i])
            most = streamed(m, Mux(contexts[i], array.ones + own, unchanged[i]))
            context = streamed(m, contexts[i])
            distance = array.low + array.high
            with m.If(gate[i]):
                m.d.sync += dot.eq(most - Mux(context, distance, distance << 1))
            with m.Else():
                m.d.sync += dot.eq(0)
            m.d.sync += [
                others.eq(self.partial[i] + self.extra[i]),
                acc.eq(dot + others),
            ]
            m.d.comb += self.acc[i].eq(acc)
            m.d.comb += Cat(self.clipped[i], self.clipped[self.lanes + i]).eq(post.clipped)
        return m

    def _ones(self, m: Module) -> Value:
        """popcount(activation) at `operands` − 2: there is no time for a last addition."""
        counts, middle = [], self.width // 2
        for name, half in (("low", self.activation[:middle]), ("high", self.activation[middle:])):
            m.submodules[f"ones_{name}"] = ones = Popcount(middle)
            m.d.comb += ones.bits.eq(half)
            counts.append(streamed(m, ones.count, self.operands - 2 - ones.latency))
        return sum(counts)
