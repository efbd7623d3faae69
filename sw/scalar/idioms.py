"""Short pieces of code that all parts of a firmware use: signs, dot products, IRPReLU, token loops."""

from collections.abc import Iterator
from contextlib import contextmanager

from haarlequin.hw.config import ScalarConfig
from haarlequin.hw.scalar.isa import WORD, Alu, Control, Saturation
from haarlequin.models.golden import GoldenModel
from haarlequin.sw.scalar.assembler import SIGNS, Assembler, At
from haarlequin.sw.scalar.layout import SPLIT, Buffer, Layout

LD, ADD, BIT, LDT, MAC, MUL, MULP = Alu.LD, Alu.ADD, Alu.BIT, Alu.LDT, Alu.MAC, Alu.MUL, Alu.MULP
ASRR, DOT, SAT, ST, STBR = Control.ASRR, Control.DOT, Control.SAT, Control.ST, Control.STBR

WIDE, FEATURE = Saturation.WIDE, Saturation.FEATURE


class Idioms(Layout):
    """Writes code for the data of a `Layout`.

    Each method adds instructions to the assembler ``a``. ``milestones[i]`` are the tensors that are complete
    when the code stores the number i to ``milestone_address``.
    """

    def __init__(self, model: GoldenModel, machine: ScalarConfig):
        super().__init__(model, machine)
        self.a = Assembler()
        self.milestones: list[list[Buffer]] = []

    def _milestone(self, *buffers: Buffer) -> None:
        """Say that these tensors are complete."""
        self.a(LD, len(self.milestones))
        self.a(ST, At("milestone"))
        self.milestones.append(list(buffers))

    def _wide(self, name: str, address: int, repeats: int = 1) -> Buffer:
        return Buffer(name, address, (self.n, self.dim * repeats))

    def _signs(self, words: int) -> None:
        """Take the signs of the row at X, with the moves at S; both pointers are after them then."""
        a = self.a
        for word in range(words):
            with a.loop("bit", WORD):
                a(LD, At("X", 1))
                a(BIT, At("S", 1))
            a(STBR, SIGNS + word)

    def _dot(self, words: int) -> None:
        """Let ACC be the dot product of a channel's weights, which S points at, with the row of signs."""
        self.a(LD, -WORD * words)
        self.a.dot(DOT, "S", words)

    def _affine_code(self) -> None:
        """Apply the affine that S points at to ACC."""
        self.a(MUL, At("S", 1))
        self.a(ASRR, 0, self.high)
        self.a(ADD, At("S", 1))

    def _irprelu(self, shortcut: At, residual: At | None = None) -> None:
        """Apply affine, shortcut and IRPReLU to ACC, with the constants at S, and add the residual."""
        a = self.a
        self._affine_code()
        a(ADD, shortcut)
        a(SAT, 0, WIDE)
        a(MULP, At("S", 2))
        a(ASRR, 0, self.slope_high)
        a(ADD, At("S", 1))
        a(ADD, "t")
        if residual:
            a(ADD, residual)
        a(SAT, 0, WIDE)

    @contextmanager
    def _tokens(self, offsets: bool = True) -> Iterator[None]:
        """Loop over the tokens. For each, S goes back to where it is now, and ``t`` is the token's t_n."""
        self.a.set("start", "S")
        with self.a.loop("token", self.n):
            self.a.set("S", "start")
            if offsets:
                self.a.set("t", At("T", 1))
            yield

    def _split_constant(self) -> None:
        """Load the constant of two words that S points at into ACC."""
        a = self.a
        a(LD, At("S", 1))
        a(LDT, At("S", 1))
        a(MAC, 1 << SPLIT)
