"""The lanes side by side: one word of activations to all of them, one result from each, every cycle."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.pipeline import lane_words, registered, streamed
from haarlequin.hw.lanes.binary_lane import BinaryLane
from haarlequin.hw.lanes.popcount import Popcount
from haarlequin.hw.lanes.postprocess import PostProcess, lane_constants
from haarlequin.models.widths import Widths


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

    ================================  ============================================
    ``gate``, ``context``,
    ``differential``, ``balance``,
    ``centre`` taken                  `operands` − 1
    ``partial``, ``extra`` taken      `operands`
    ``acc`` out, ``take`` taken       `operands` + 2
    ``shortcut`` taken                `operands` + 2 + `PostProcess.SHORTCUT`
    ``residual``, ``token`` taken     `operands` + 2 + `PostProcess.RESIDUAL`
    ``y``, ``bits``, ``clipped`` out  `operands` + 2 + `PostProcess.LATENCY`
    ================================  ============================================

    ``clipped`` has a bit for each lane's first saturation, then one for each lane's second.

    What is loaded goes from lane to lane, entering at the last: ``load`` takes ``weights`` and moves every
    lane's next weights to the one before it, so that a word a lane, lane 0's first, fills them all.
    ``load_constants`` does the same with ``constants``. The lanes compute with them from the token on that
    has ``take`` beside its ``acc``; the next ones may load from that cycle on. ``shift`` moves each lane's
    own ``bits`` into the highest ``value_bits`` of its next weights (V, token after token, the first with
    ``begin``); ``swap`` makes the next weights of all lanes current.
    """

    def __init__(self, lanes: int, width: int, value_bits: int, widths: Widths):
        if not (isinstance(lanes, int) and lanes >= 1):
            raise ValueError(f"LaneArray lanes must be a positive integer, not {lanes!r}")
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
        return self._array[0].latency

    def elaborate(self, platform):
        m = Module()
        k = Mux(self.differential, self._ones(m), 0)
        unchanged = self.width + self.balance
        gate, context = streamed(m, self.gate), streamed(m, self.context)
        weights = [*(lane.following for lane in self._array[1:]), self.weights]
        for name, behind in PostProcess.TAKEN.items():
            word = streamed(m, self.constants[name], behind)
            load, take = (registered(m, strobe, behind) for strobe in (self.load_constants, self.take))
            for post, constant in zip(self._post, lane_words(m, word, self.lanes, load, take), strict=True):
                m.d.comb += post.constants[name].eq(constant)
        for i, (array, post) in enumerate(zip(self._array, self._post, strict=True)):
            m.submodules[f"array_{i}"], m.submodules[f"post_{i}"] = array, post
            m.d.comb += [
                array.activation.eq(self.activation),
                array.load.eq(self.load),
                array.weights.eq(weights[i]),
                array.shift.eq(self.shift),
                array.begin.eq(self.begin),
                array.bit.eq(post.bit),
                array.swap.eq(self.swap),
                post.acc.eq(self.acc[i]),
                post.shortcut.eq(self.shortcut[i]),
                post.residual.eq(self.residual[i]),
                post.token.eq(self.token),
                self.y[i].eq(post.y),
                self.bits[i].eq(post.bit),
            ]
            dot, others, acc = (Signal(signed(self.widths.wide), reset_less=True) for _ in range(3))
            own = Mux(self.centre[i], -k, k)
            most = streamed(m, Mux(self.context, array.ones + own, unchanged))
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
        """popcount(activation), a cycle before the lanes' distances: there is no time for a last addition."""
        counts, middle = [], self.width // 2
        for name, half in (("low", self.activation[:middle]), ("high", self.activation[middle:])):
            m.submodules[f"ones_{name}"] = ones = Popcount(middle)
            m.d.comb += ones.bits.eq(half)
            counts.append(streamed(m, ones.count, self.operands - 1 - ones.latency))
        return sum(counts)
