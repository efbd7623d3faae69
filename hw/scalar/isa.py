"""The scalar core's instructions: for `hw/scalar/core.py`, the assembler and the emulator.

State: ACC of 32 bits, T and B of 16, `REGISTERS` of 16 bits, up to 64 Ki words of data, `CODE` instructions.
All numbers are two's complement.

An instruction is ``op`` (6 bits, lowest), ``r`` (6), ``immediate`` (12, signed). An ALU's op is its number,
and its operand's source on top:

=====  =========================================================  ======
MEM    the word at address R[r]; then R[r] += immediate           3 cycles
REG    R[r]                                                       2
IMM    r and immediate as one number of 18 bits, sign-extended    2
=====  =========================================================  ======

As 16-bit operands of a product only an immediate's lowest bits count. MIN and BIT compare whole numbers, of
33 bits. A DOT's register numbers wrap around; its pointer, if it is among them, has its value of before.
"""

from dataclasses import dataclass
from enum import IntEnum

from haarlequin.hw.link.protocol import COUNTERS_MEMORY, PIXELS_MEMORY, SETTINGS_MEMORY, Memory

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
"""Address from which on the core reads the image at hand, a byte a word, in place of the data's own words."""


class Setting(IntEnum):
    """The words of the settings, by their address."""

    IMAGE_BYTES = 0
    CLASSES = 1


def memories(words: int, pixels: int) -> tuple[Memory, ...]:
    """What the host can fill and read of a machine with so many words of data and bytes of image memory, by
    number.

    The counter, which can only be read, has the cycles of all images.
    """
    return (
        Memory(SETTINGS_MEMORY, WORD, len(Setting)),
        Memory(CODE_MEMORY, INSTRUCTION, CODE),
        Memory(DATA_MEMORY, WORD, words),
        Memory(PIXELS_MEMORY, 8, pixels),
        Memory(COUNTERS_MEMORY, 2 * WORD, 1),
    )


class Saturation(IntEnum):
    """What a SAT clips to, its immediate."""

    WIDE = 0
    """A wide value."""
    FEATURE = 1
    """One of the head's features."""

    @property
    def bits(self) -> int:
        """Of what it leaves."""
        return {Saturation.WIDE: 12, Saturation.FEATURE: 8}[self]


class Source(IntEnum):
    """Where an operand comes from."""

    MEM = 0
    REG = 1
    IMM = 2
    NONE = 3


class Alu(IntEnum):
    """What the ALU does with its operand."""

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
    """Bit 15 of B = (ACC + operand ≥ 0), the others move down"""
    LDP = 8
    """LD, of the next word or register where ACC < 0"""
    MULP = 9
    """MUL, likewise"""


class Control(IntEnum):
    """Instructions that are no ALU's. Cycles: 2, where not said otherwise."""

    ST = 0
    """Word at address R[r] = ACC; then R[r] += immediate"""
    STB = 1
    """Word at address R[r] = B; then R[r] += immediate"""
    STR = 2
    """R[r] = ACC"""
    STBR = 3
    """R[r] = B"""
    DOT = 4
    """ACC += 2 · popcount(word xnor register), over immediate's lowest 6 bits of words from address R[r] and
    of registers from the one in its highest 6 bits; then R[r] points behind the words. 2 cycles and one a
    word."""
    DOTA = 5
    """The same with `and` for `xnor`"""
    ASR = 6
    """ACC >>= immediate, 0 to 63. 3 cycles, and one for each 8 places and for each that is left."""
    ASRR = 7
    """The same to the nearest integer, halves up"""
    SAT = 8
    """ACC clipped to what immediate, a `Saturation`, says; counted where that changes it"""
    JMP = 9
    """Go on at immediate, unsigned"""
    DJNZ = 10
    """R[r] −= 1; go on at immediate, unsigned, unless R[r] is 0 now"""
    OUT = 11
    """ACC is the image's next result. Waits for whoever takes it, in cycles that are not counted."""
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
"""Instructions whose immediate has no sign, and its largest value."""


@dataclass(frozen=True)
class Instruction:
    """One instruction; raises ValueError for what has no encoding."""

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
        """Of the immediate, both ends allowed."""
        if isinstance(self.op, Control) and self.op in UNSIGNED:
            return 0, UNSIGNED[self.op]
        bits = R + IMMEDIATE if self.source == Source.IMM else IMMEDIATE
        return -(1 << (bits - 1)), (1 << (bits - 1)) - 1

    def encode(self) -> int:
        """As a word of the code."""
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
    """The instruction of a word of the code; raises ValueError where it is none."""
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
    """The lowest ``bits`` of a number as two's complement."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
