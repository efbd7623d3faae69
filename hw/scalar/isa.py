"""The instructions of the scalar core, for `hw/scalar/core.py`, the assembler and the emulator.

The core has an accumulator ACC of 32 bits, T and B of 16 bits, `REGISTERS` registers of 16 bits, up to 64 Ki
words of data, and `CODE` instructions. All numbers are two's complement.

An instruction has three fields, the lowest first: ``op`` of 6 bits, ``r`` of 6 bits, and ``immediate`` of 12
bits, which is signed. The op of an ALU instruction is its number in the lowest 4 bits, and the source of its
operand in the other two:

| source | operand                                                 | cycles |
|--------|---------------------------------------------------------|--------|
| MEM    | the word at address R[r]; then R[r] += immediate        | 3      |
| REG    | R[r]                                                    | 2      |
| IMM    | r and immediate as one number of 18 bits, sign-extended | 2      |

A product takes only the lowest 16 bits of an immediate. MIN and BIT compare whole numbers of 33 bits. The
register numbers of a DOT wrap around. If its pointer is among its registers, it counts with the value from
before the DOT.
"""

from dataclasses import dataclass
from enum import IntEnum

from haarlequin.hw.link.identity import Memory
from haarlequin.hw.link.protocol import COUNTERS_MEMORY, PIXELS_MEMORY, SETTINGS_MEMORY

WORD = 16
ACC = 32
REGISTERS = 64
ADDRESS = 16
CODE = 1024
OP, R, IMMEDIATE = 6, 6, 12
"""Bits of an instruction's fields."""

INSTRUCTION = OP + R + IMMEDIATE

CODE_MEMORY, DATA_MEMORY = "code", "data"
"""Names of the memories that only this machine has."""

PIXELS = 0
"""The address from which the core reads the present image, one byte per word, in place of words of data."""


class Setting(IntEnum):
    """The words of the settings, by their address."""

    IMAGE_BYTES = 0
    CLASSES = 1


def memories(words: int, pixels: int) -> tuple[Memory, ...]:
    """The memories that the host can reach, by number, of a machine of this size.

    ``words`` is the number of words of data, and ``pixels`` the bytes of the image memory. The counter, which
    can only be read, has the cycles of all images.
    """
    return (
        Memory(SETTINGS_MEMORY, WORD, len(Setting)),
        Memory(CODE_MEMORY, INSTRUCTION, CODE),
        Memory(DATA_MEMORY, WORD, words),
        Memory(PIXELS_MEMORY, 8, pixels),
        Memory(COUNTERS_MEMORY, 2 * WORD, 1),
    )


class Saturation(IntEnum):
    """The immediate of a SAT, which says to what it clips."""

    WIDE = 0
    """A wide value."""
    FEATURE = 1
    """A feature of the head."""

    @property
    def bits(self) -> int:
        """The width of the clipped value."""
        return {Saturation.WIDE: 12, Saturation.FEATURE: 8}[self]


class Source(IntEnum):
    """The source of an operand."""

    MEM = 0
    REG = 1
    IMM = 2
    NONE = 3


class Alu(IntEnum):
    """The instructions of the ALU, which have an operand."""

    LD = 0
    """ACC = operand"""
    ADD = 1
    SUB = 2
    MIN = 3
    MUL = 4
    """ACC = ACC's lowest 16 bits · operand"""
    MAC = 5
    """ACC += T · operand"""
    LDT = 6
    """T = operand"""
    BIT = 7
    """Bit 15 of B = (ACC + operand ≥ 0); the other bits move down by one"""
    LDP = 8
    """LD, but of the next word or register if ACC < 0"""
    MULP = 9
    """MUL, but with the next word or register if ACC < 0"""


class Control(IntEnum):
    """The other instructions. They take 2 cycles if nothing else is said."""

    ST = 0
    """Word at address R[r] = ACC; then R[r] += immediate"""
    STB = 1
    """Word at address R[r] = B; then R[r] += immediate"""
    STR = 2
    """R[r] = ACC"""
    STBR = 3
    """R[r] = B"""
    DOT = 4
    """ACC += 2 · popcount(word xnor register), summed over n words and n registers. The words begin at
    address R[r]; afterwards R[r] points to the word after them. n is the lowest 6 bits of the immediate, and
    the number of the first register is its highest 6 bits. 2 cycles, and one cycle per word."""
    DOTA = 5
    """The same with `and` in place of `xnor`"""
    ASR = 6
    """ACC >>= immediate, 0 to 63. 3 cycles, one cycle for each 8 places, and one for each remaining place."""
    ASRR = 7
    """The same, rounded to the nearest integer, with halves rounded up"""
    SAT = 8
    """ACC is clipped as the immediate, a `Saturation`, says. It is counted if that changes ACC"""
    JMP = 9
    """Go on at instruction immediate, which is unsigned"""
    DJNZ = 10
    """R[r] −= 1; then go on at instruction immediate, which is unsigned, unless R[r] is 0"""
    OUT = 11
    """ACC is the next result of the image. The core waits until it is taken; those cycles are not counted."""
    HALT = 12
    """The image is done; the next one begins at instruction 0"""
    LDX = 13
    """ACC = the word at address R[r] + ACC. 3 cycles."""


UNSIGNED = {
    Control.DOT: (1 << IMMEDIATE) - 1,
    Control.DOTA: (1 << IMMEDIATE) - 1,
    Control.ASR: 63,
    Control.ASRR: 63,
    Control.SAT: max(Saturation),
    Control.JMP: CODE - 1,
    Control.DJNZ: CODE - 1,
}
"""The instructions whose immediate has no sign, with its largest value."""


@dataclass(frozen=True)
class Instruction:
    """One instruction. Raises `ValueError` if it has no encoding."""

    op: Alu | Control
    source: Source = Source.NONE
    r: int = 0
    immediate: int = 0

    def __post_init__(self):
        if isinstance(self.op, Alu) == (self.source == Source.NONE):
            raise ValueError(f"{self.op.name} takes no operand from {self.source.name}")
        low, high = self._range()
        if not low <= self.immediate <= high:
            raise ValueError(f"{self.op.name}: {self.immediate} is not within {low} to {high}")
        if not 0 <= self.r < REGISTERS:
            raise ValueError(f"{self.op.name}: there is no register {self.r}")
        if self.source == Source.IMM and self.r:
            raise ValueError(f"{self.op.name}: an immediate leaves no room for a register")

    def _range(self) -> tuple[int, int]:
        """The smallest and the largest immediate that are allowed."""
        if isinstance(self.op, Control) and self.op in UNSIGNED:
            return 0, UNSIGNED[self.op]
        bits = R + IMMEDIATE if self.source == Source.IMM else IMMEDIATE
        return -(1 << (bits - 1)), (1 << (bits - 1)) - 1

    def encode(self) -> int:
        """The instruction as a word of the code."""
        if self.source == Source.IMM:
            fields = self.immediate & (1 << (R + IMMEDIATE)) - 1
        else:
            fields = self.r | (self.immediate & (1 << IMMEDIATE) - 1) << R
        return self.op | self.source << 4 | fields << OP

    def __str__(self) -> str:
        where = {Source.REG: f" R{self.r}", Source.IMM: f" #{self.immediate}", Source.NONE: ""}
        where[Source.MEM] = f" [R{self.r}], {self.immediate:+d}"
        if self.source == Source.NONE:
            return f"{self.op.name} R{self.r}, {self.immediate}"
        return f"{self.op.name}{where[self.source]}"


def decode(word: int) -> Instruction:
    """The instruction that a word of the code encodes. Raises `ValueError` if there is none."""
    source = Source(word >> 4 & 3)
    op = Control(word & 15) if source == Source.NONE else Alu(word & 15)
    fields = word >> OP
    if source == Source.IMM:
        return Instruction(op, source, 0, signed(fields, R + IMMEDIATE))
    immediate = fields >> R
    if not (source == Source.NONE and op in UNSIGNED):
        immediate = signed(immediate, IMMEDIATE)
    return Instruction(op, source, fields & REGISTERS - 1, immediate)


def signed(value: int, bits: int) -> int:
    """The lowest ``bits`` bits of a number, read as two's complement."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
