"""The classifier: it takes pooled sums and gives logits, with one multiplier."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.common.flow_control import counter, stages
from haarlequin.hw.common.sizes import check_positive
from haarlequin.hw.common.tables import table_memories, table_ports
from haarlequin.hw.lanes.postprocess import round_shift, saturate
from haarlequin.models.golden import FEATURE_BITS
from haarlequin.models.widths import Widths


def constants_layout(widths: Widths) -> data.StructLayout:
    """The constants of a channel: ``a`` and ``b`` of its affine."""
    return data.StructLayout({"a": signed(widths.multiplier), "b": signed(widths.bias)})


class Head(wiring.Component):
    """Computes `arithmetic.head` of the pooled sums Σ_n x of one image after the other.

    One multiplier does everything, with one product per cycle. First it computes the affine of each sum,
    which gives the features v. When the last feature is known, it computes the classes one after the other.
    The logit of class k comes `cycles` (dim, k + 1) cycles after the last sum, if every logit is taken at
    once. The whole block waits while a logit is not taken. After the last product of an image it takes the
    sums of the next one.

    Parameters
    ----------
    widths : Widths
        The widths of the numbers.
    max_tokens, max_channels, max_classes : int
        The most tokens whose sum is taken, the most channels, and the most classes.

    Members
    -------
    constants : In(TableSignature)
        Table of `constants_layout`, one word per channel.
    weights : In(TableSignature)
        Table of 8-bit weights: the one of class k and channel c is at k · dim + c.
    biases : In(TableSignature)
        Table of 32-bit biases, one per class.
    dim : In(range(max_channels + 1))
        The number of channels. It must not change from the first sum of an image to its last logit.
    classes : In(range(max_classes + 1))
        The number of classes. It must not change in that time either.
    shift : In(range(widths.head_shift[1] + 1))
        The right shift of the affine. It must not change in that time either.
    sums : In(stream.Signature(signed(widths.wide + ceil_log2(max_tokens))))
        The sums of an image's channels, in order.
    logits : Out(stream.Signature(signed(32)))
        The logits of an image's classes, in order.
    clipped : Out(range(max_channels + 1))
        The number of features of the image that were saturated, valid while its logits are offered.
    """

    LATENCY = 9
    """Cycles from the last sum to a logit, beyond one cycle for each product."""

    def __init__(self, widths: Widths, max_tokens: int, max_channels: int, max_classes: int):
        check_positive("Head", max_tokens=max_tokens, max_channels=max_channels, max_classes=max_classes)
        self.max_channels = max_channels
        self._tables = {
            "constants": (constants_layout(widths), max_channels),
            "weights": (signed(8), max_channels * max_classes),
            "biases": (signed(32), max_classes),
        }
        super().__init__(
            table_ports(self._tables)
            | {
                "dim": In(range(max_channels + 1)),
                "classes": In(range(max_classes + 1)),
                "shift": In(range(widths.head_shift[1] + 1)),
                "sums": In(stream.Signature(signed(widths.wide + ceil_log2(max_tokens)))),
                "logits": Out(stream.Signature(signed(32))),
                "clipped": Out(range(max_channels + 1)),
            }
        )

    @staticmethod
    def cycles(dim: int, classes: int) -> int:
        """Cycles from the last sum to the last of ``classes`` logits, if those before are taken at once."""
        return classes * dim + Head.LATENCY

    def elaborate(self, platform):
        m = Module()
        constants, weight, bias = table_memories(m, self, self._tables)
        m.submodules.features = memory = Memory(shape=signed(FEATURE_BITS), depth=self.max_channels, init=[])
        write, feature = memory.write_port(), memory.read_port()
        sums, logits = self.sums, self.logits
        move = ~logits.valid | logits.ready
        stage = stages(m, move)

        taking, classifying = Signal(init=1), Signal()
        take = sums.valid & sums.ready
        classify = classifying & move
        channel, last_channel = counter(m, self.dim, take | classify)
        class_, last_logit = counter(m, self.classes, classify, inner=last_channel)
        ends_sums, ends_logit, ends_image = (
            take & last_channel,
            classify & last_channel,
            classify & last_logit,
        )
        m.d.comb += sums.ready.eq(taking & move)
        with m.If(ends_sums):
            m.d.sync += taking.eq(0)
        with m.If(stage(ends_sums, 5) & move):
            m.d.sync += classifying.eq(1)
        with m.If(ends_image):
            m.d.sync += [classifying.eq(0), taking.eq(1)]
        with m.If(classifying & move):
            m.d.sync += weight.addr.eq(Mux(ends_image, 0, weight.addr + 1))
        m.d.comb += [port.en.eq(move) for port in (constants, weight, bias, feature)]
        m.d.comb += [constants.addr.eq(channel), feature.addr.eq(channel), bias.addr.eq(class_)]

        # The one multiplier computes a_c·sum_c while sums come, and then W_kc·v_c.
        affine, first = stage(take), stage(channel == 0)  # 1
        left = stage(Mux(affine, stage(sums.p), feature.data), reset_less=True)  # 2
        right = stage(Mux(affine, constants.data.a, weight.data), reset_less=True)
        product = stage(left * right, reset_less=True)  # 3

        # One fraction bit is kept: the addition of b rounds it off.
        doubled, b = stage((product << 1) >> self.shift), stage(constants.data.b, 3)  # 4
        clipped, affine, first_sum = Signal(), stage(affine, 3), stage(first, 3)
        v = stage(saturate(m, round_shift(doubled, b, 1), FEATURE_BITS, clipped))  # 5
        # Counted a cycle later: a saturation comes late, and the counter is long.
        counts, begins, counted = stage(affine), stage(first_sum), stage(clipped)
        with m.If(counts & move):
            m.d.sync += self.clipped.eq(Mux(begins, 0, self.clipped) + counted)
        m.d.comb += [write.addr.eq(stage(channel, 5)), write.data.eq(v), write.en.eq(stage(affine))]

        start, first_product = stage(bias.data, 2), stage(first, 2)  # 3
        with m.If(move):
            m.d.sync += logits.p.eq(Mux(first_product, start, logits.p) + product)  # 4
        m.d.comb += logits.valid.eq(stage(ends_logit, 4))
        return m
