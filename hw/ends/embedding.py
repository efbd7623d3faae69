"""The patch embedding, beside the lanes: a few multipliers that already work on the next image."""

from amaranth.hdl import Array, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.flow_control import counter, stages
from haarlequin.hw.common.sizes import check_positive
from haarlequin.hw.common.tables import TableRead, table_memories, table_ports
from haarlequin.hw.ends.patch_walk import walk_patches
from haarlequin.hw.lanes.postprocess import round_shift, saturate
from haarlequin.models.widths import Widths

Group = tuple[list[Signal], Signal, Signal]
"""The sums of a group, whether they are complete, and whether they are the last of the image."""
Drained = tuple[Value, Signal, Value]
"""One of the sums held a cycle ago, whether it is valid, and whether it is the image's last."""


def constants_layout(widths: Widths, max_patch_length: int) -> data.StructLayout:
    """The constants of a channel: its bias, and ``a`` and ``b`` of its affine.

    The bias is as wide as a sum of ``max_patch_length`` products and a bias of the same size.
    """
    acc = signed((2 * max_patch_length * 128 * 128).bit_length() + 1)
    return data.StructLayout({"bias": acc, "a": signed(widths.multiplier), "b": signed(widths.bias)})


class Embedding(wiring.Component):
    """Computes `arithmetic.embedding` of one image after the other.

    The channels of a token are worked on in groups of ``macs``, one multiplier for each channel. One pixel
    per cycle goes to all multipliers. While the next group accumulates, the finished sums leave through one
    affine, one value per cycle. If they take longer than the next group accumulates (because macs is more
    than the patch length, or ``values`` is not taken), the multipliers wait. `cycles` gives the exact time.
    The bias is added when the sums leave, which gives the same sums as to begin with it.

    Parameters
    ----------
    macs : int
        The number of multipliers.
    widths : Widths
        The widths of the numbers.
    max_tokens, max_channels, max_patch_length : int
        The largest image: its tokens, the channels of a token, and the bytes of a patch.
    max_values, max_positions : int
        The most values of an image, tokens times channels, and the words of ``positions``.
    max_pixels : int
        Bytes of the image memory.

    Members
    -------
    pixels : In(TableSignature)
        Table of bytes. An image lies row by row (row, column, channel of the pixel) from any address.
    weights : In(TableSignature)
        Table of words of ``macs`` weights. Word g · patch length + t is for group g and tap t, with the taps
        in the order of `arithmetic.patches`. Its weight k is for channel g · macs + k. The weights of the
        last group for channels beyond ``dim`` may be anything.
    constants : In(TableSignature)
        Table of `constants_layout`, one word per channel, with |bias| ≤ patch length · 2^14.
    positions : In(TableSignature)
        Table of position values: channel c of token n is at n · dim + c.
    image, rows, columns, patch, patch_bytes, pixel_bytes, line_bytes, step_bytes, step_lines, dim : In
        The address of the image's first byte; rows and columns of tokens; rows of a patch; bytes of a row of
        a patch, of a pixel and of a row of the image; bytes from a patch to its right neighbour and to the
        one below; and channels of a token. They must not change while ``busy``.
    padding, padding_end : In(1)
        The first patch begins a pixel above and left of the image; the last one ends a pixel below and right
        of it. Pixels outside the image are 128. They must not change while ``busy``.
    positioned : In(1)
        Positions are added to the values. It must not change while ``busy``.
    acc_shift, shift : In
        The right shift that leaves `Widths.embedding_acc` bits of a sum, and the right shift of the affine.
        They must not change while ``busy``.
    start : In(1)
        Begins an image. It may be high only while ``busy`` is low. No reset is needed between images.
    busy : Out(1)
        High from the cycle after ``start`` to the one with ``done``.
    done : Out(1)
        High in the cycle in which the last value of the image is taken.
    values : Out(stream.Signature(signed(widths.wide)))
        The channels of token 0, then those of token 1, and so on.
    clipped : Out
        The number of values of the image that were saturated. It is complete with ``done``, and stays until
        the next ``start``.
    """

    LATENCY = 12
    """Cycles that the last value takes in the pipeline, beyond its taps and its place in the group."""

    def __init__(
        self,
        macs: int,
        widths: Widths,
        max_tokens: int,
        max_channels: int,
        max_patch_length: int,
        max_pixels: int,
        max_values: int,
        max_positions: int,
    ):
        sizes = {"macs": macs, "max_tokens": max_tokens, "max_channels": max_channels}
        sizes |= {"max_values": max_values, "max_positions": max_positions}
        sizes |= {"max_patch_length": max_patch_length, "max_pixels": max_pixels}
        check_positive("Embedding", **sizes)
        self.macs, self.widths = macs, widths
        constants = constants_layout(widths, max_patch_length)
        self._acc = constants["bias"].shape
        groups = -(-max_channels // macs)
        self._tables = {
            "pixels": (unsigned(8), max_pixels),
            "weights": (data.ArrayLayout(signed(8), macs), groups * max_patch_length),
            "constants": (constants, max_channels),
            "positions": (signed(widths.wide), max_positions),
        }
        tokens, taps, pixels = range(max_tokens + 1), range(max_patch_length + 1), range(max_pixels + 1)
        acc_shift = max(0, self._acc.width - widths.embedding_acc)
        super().__init__(
            table_ports(self._tables)
            | {
                "image": In(range(max_pixels)),
                "rows": In(tokens),
                "columns": In(tokens),
                "patch": In(taps),
                "patch_bytes": In(taps),
                "pixel_bytes": In(taps),
                "line_bytes": In(pixels),
                "step_bytes": In(taps),
                "step_lines": In(pixels),
                "padding": In(1),
                "padding_end": In(1),
                "positioned": In(1),
                "dim": In(range(max_channels + 1)),
                "acc_shift": In(range(acc_shift + 1)),
                "shift": In(range(widths.embedding_shift[1] + 1)),
                "start": In(1),
                "busy": Out(1),
                "done": Out(1),
                "values": Out(stream.Signature(signed(widths.wide))),
                "clipped": Out(range(2 * max_values + 1)),
            }
        )

    @staticmethod
    def cycles(macs: int, tokens: int, patch_length: int, dim: int) -> int:
        """Cycles from ``start`` to ``done`` of an image, if ``values`` are always taken at once.

        They are tokens · patch_length · ⌈dim / macs⌉ and a few more as long as macs ≤ patch_length. With more
        multipliers it is one cycle per value.
        """
        groups, channels = divmod(dim - 1, macs)
        channels += 1  # of the last group
        token = groups * max(patch_length, macs) + max(patch_length, channels)
        return tokens * token + min(patch_length, channels) + Embedding.LATENCY

    def elaborate(self, platform):
        m = Module()
        pixel, weights, constants, position = table_memories(m, self, self._tables, busy=("pixels",))
        step, move = Signal(), Signal()  # the multipliers advance; the affine advances
        tags = walk_patches(m, self, step, pixel, weights)
        drained = self._drain(m, step, move, self._accumulate(m, step, pixel, weights, tags), constants)
        self._finish(m, move, drained, constants, position)
        with m.If(self.start):
            m.d.sync += self.busy.eq(1)
        with m.Elif(self.done):
            m.d.sync += self.busy.eq(0)
        return m

    def _accumulate(
        self, m: Module, step: Signal, pixel: TableRead, weights: TableRead, tags: Value
    ) -> Group:
        m.d.comb += [pixel.en.eq(step), weights.en.eq(step)]
        stage = stages(m, step)
        first, *ends = stage(tags[:3], 3)  # as late as the products
        outside = stage(tags[3])
        p = stage(Mux(outside, 0, (pixel.data ^ 128).as_signed()), reset_less=True)  # pixel − 128
        sums = [Signal(self._acc, name=f"sum_{k}") for k in range(self.macs)]
        for total, weight in zip(sums, weights.data, strict=True):
            product = stage(p * stage(weight, reset_less=True), reset_less=True)
            with m.If(step):
                m.d.sync += total.eq(Mux(first, 0, total) + product)
        complete, final = (stage(end) for end in ends)
        return sums, complete, final

    def _drain(self, m: Module, step: Signal, move: Signal, group: Group, constants: TableRead) -> Drained:
        """Hold the sums of a group while those of the next group grow, and pass them on one by one."""
        sums, complete, final = group
        held = [Signal(self._acc, name=f"held_{k}") for k in range(self.macs)]
        draining, held_final, index = Signal(), Signal(), Signal(range(self.macs))
        last_index = Signal()  # a register: the multipliers wait for it
        channel, last_channel = counter(m, self.dim, draining & move)
        ends_group = draining & move & (last_channel | last_index)
        load = complete & (~draining | ends_group)
        stage = stages(m, move)
        m.d.comb += [step.eq(~complete | load), constants.addr.eq(channel)]
        with m.If(load):
            m.d.sync += [draining.eq(1), held_final.eq(final), index.eq(0), last_index.eq(self.macs == 1)]
            m.d.sync += [register.eq(total) for register, total in zip(held, sums, strict=True)]
        with m.Elif(ends_group):
            m.d.sync += draining.eq(0)
        with m.Elif(move):
            m.d.sync += [index.eq(index + 1), last_index.eq(index == self.macs - 2)]
        # The multipliers lie all over the part: their sums are chosen from in two cycles.
        fours = [stage(Array(held[first : first + 4])[index[:2]]) for first in range(0, self.macs, 4)]
        four = stage(index[2:])
        total = Array(fours)[four] if len(fours) > 1 else fours[0]
        return total, stage(draining), stage(ends_group & held_final)

    def _finish(
        self,
        m: Module,
        move: Signal,
        drained: tuple[Value, Signal, Value],
        constants: TableRead,
        position: TableRead,
    ) -> None:
        """Compute the values from the sums: bias, affine, saturation and position."""
        total, valid, last = drained
        bits, values, stage = self.widths.wide, self.values, stages(m, move)
        m.d.comb += [move.eq(~values.valid | values.ready), constants.en.eq(move), position.en.eq(move)]
        # Constants leave their block RAM late, and wait in a register.
        c = data.View(constants.data.shape(), stage(Value.cast(constants.data), reset_less=True))
        biased = stage(total) + c.bias  # 1
        acc = stage((biased >> self.acc_shift)[: self.widths.embedding_acc].as_signed(), reset_less=True)  # 2
        product = stage(acc * stage(c.a, reset_less=True), reset_less=True)  # 3
        # One fraction bit is kept: the addition of b rounds it off.
        doubled, b = stage((product << 1) >> self.shift), stage(c.b, 3)  # 4
        clipped, clipped_again = Signal(), Signal()
        x = stage(saturate(m, round_shift(doubled, b, 1), bits, clipped))  # 5
        # A position leaves its block RAM late, and waits in a register.
        x, moved = stage(x), stage(Mux(self.positioned, position.data, 0))  # 6
        value = stage(saturate(m, x + moved, bits, clipped_again))  # 7

        before, after = stage(valid, 4), stage(valid, 6)  # the first saturation and the second
        # Saturations are counted a cycle late, because the counter is long.
        counted, latest = Signal.like(self.clipped), Signal(2)
        m.d.comb += self.clipped.eq(counted + latest)
        m.d.sync += [counted.eq(self.clipped), latest.eq(0)]
        with m.If(self.start):
            m.d.sync += [position.addr.eq(0), counted.eq(0)]
        with m.Elif(move):
            m.d.sync += position.addr.eq(position.addr + (before & self.positioned))
            m.d.sync += latest.eq((before & clipped) + (after & clipped_again))
        m.d.comb += [values.p.eq(value), values.valid.eq(stage(after))]
        m.d.comb += self.done.eq(values.valid & values.ready & stage(last, 7))
