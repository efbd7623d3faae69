"""The array's operand: of two words of signs, ones beyond the edges of the grid, zeros where none is used."""

from amaranth.hdl import Cat, Module, Mux, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.pipeline import streamed
from haarlequin.hw.common.thermometer import thermometer
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.program import pass_layout


class SignOperand(wiring.Component):
    """``activation`` = the K bits that a pass broadcasts for a token: which of ``word_0`` and ``word_1`` is
    its field ``source``, a `codes.Activation`.

    A cycle before these come the token's ``edges`` (whether it is in the first row of its grid, the last
    row, the first column, the last column) and the pass's fields ``above``, ``below``, ``left`` and
    ``right``: a chunk beyond an edge is +1. Bits below ``inputs_low`` and from ``inputs_high`` on are 0.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config, fields = config, pass_layout(config)
        early = ("above", "below", "left", "right", "inputs_low", "inputs_high")
        super().__init__(
            {name: In(fields[name].shape) for name in early}
            | {
                "edges": In(4),
                "source": In(fields["activation"].shape),
                "word_0": In(config.width),
                "word_1": In(config.width),
                "activation": Out(config.width),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config, size = self.config, self.config.width
        first_row, last_row, first_column, last_column = self.edges
        ones = []  # for each chunk
        for chunk, part in enumerate(config.edge_parts):
            half = config.half(chunk)
            rows = (first_row & self.above[half]) | (last_row & self.below[half])
            columns = (first_column & self.left[part]) | (last_column & self.right[part])
            ones.append(streamed(m, rows | columns).replicate(config.lanes))
        used = streamed(m, thermometer(self.inputs_high, size) & ~thermometer(self.inputs_low, size))
        # By one bit for each half: SIGNS_0 or SIGNS_1, and PAIRS for one of each.
        low, high = Value.cast(self.source)
        middle = size // 2
        signs = Cat(
            Mux(low, self.word_0[:middle], self.word_1[:middle]),
            Mux(high, self.word_1[middle:], self.word_0[middle:]),
        )
        m.d.comb += self.activation.eq((signs | Cat(ones)) & used)
        return m
