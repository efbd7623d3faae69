"""Emulate the scalar core: run its code as the core does, and count the cycles that it takes.

`hw/scalar/isa.py` says what each instruction does, and what ACC, T and B are.
"""

from haarlequin.hw.scalar.isa import (
    ACC,
    ADDRESS,
    PIXELS,
    REGISTERS,
    WORD,
    Alu,
    Control,
    Instruction,
    Saturation,
    Source,
    decode,
    signed,
)

_MASK = (1 << WORD) - 1
_ALU_CYCLES = {Source.MEM: 3, Source.REG: 2, Source.IMM: 2}


class FirmwareError(Exception):
    """The code did something that no code should do; the message says where."""


class Emulator:
    """One core with its memories loaded. For each image, `show` gives it the pixels and `run` computes.

    ``registers`` and ``data`` are unsigned 16-bit words. They keep their values from image to image, and so
    do ACC, T and B. ``cycles`` and ``saturations`` are those of one image; a SAT counts if it changes ACC.
    """

    def __init__(self, code: list[int], data: list[int]):
        self.code = [decode(word) for word in code]
        self.data = [*data, *[0] * ((1 << ADDRESS) - len(data))]
        self.registers = [0] * REGISTERS
        self.acc = self.t = self.b = 0
        self.results: list[int] = []
        """The value of ACC at each OUT of the image."""
        self.stores: list[tuple[int, int]] = []
        """The addresses and words that the image has stored, in order."""
        self.saturations = self.cycles = 0

    def show(self, pixels: list[int]) -> None:
        """Put the bytes of the next image where the code reads them."""
        self.data[PIXELS : PIXELS + len(pixels)] = pixels

    def run(self) -> None:
        """Run from instruction 0 to HALT. Raises `FirmwareError` where ACC overflows or HALT is missing."""
        self.results, self.stores = [], []
        self.saturations = self.cycles = 0
        at: int | None = 0
        while at is not None:
            if at >= len(self.code):
                raise FirmwareError(f"the code ends at instruction {len(self.code)}, without a HALT")
            here = at
            at = self._step(self.code[at], at + 1)
            if not -(1 << (ACC - 1)) <= self.acc < 1 << (ACC - 1):
                raise FirmwareError(f"{self.code[here]}, instruction {here}: ACC overflows")

    def _step(self, one: Instruction, following: int) -> int | None:
        """Execute an instruction; returns the number of the next one, or None after HALT."""
        op, r, immediate = one.op, one.r, one.immediate
        if isinstance(op, Alu):
            self.cycles += _ALU_CYCLES[one.source]
            self._alu(op, self._operand(one))
            return following
        self.cycles += 2
        if op == Control.DJNZ:
            self.registers[r] = self.registers[r] - 1 & _MASK
            return immediate if self.registers[r] else following
        if op == Control.JMP:
            return immediate
        if op == Control.HALT:
            return None
        if op in (Control.ST, Control.STB):
            self._store(r, immediate, self.acc if op == Control.ST else self.b)
        elif op == Control.STR:
            self.registers[r] = self.acc & _MASK
        elif op == Control.STBR:
            self.registers[r] = self.b
        elif op in (Control.DOT, Control.DOTA):
            # The immediate is two fields of 6 bits: the number of words, and the first register.
            self._dot(op, r, immediate & REGISTERS - 1, immediate >> 6)
        elif op in (Control.ASR, Control.ASRR):
            self.cycles += 1 + immediate // 8 + immediate % 8
            # The last bit that is shifted out; adding it rounds to nearest.
            half = self.acc >> immediate - 1 & 1 if immediate else 0
            self.acc = (self.acc >> immediate) + (half if op == Control.ASRR else 0)
        elif op == Control.SAT:
            limit = 1 << Saturation(immediate).bits - 1
            clipped = min(max(self.acc, -limit), limit - 1)
            self.saturations += clipped != self.acc
            self.acc = clipped
        elif op == Control.OUT:
            self.results.append(self.acc)
        else:
            assert op == Control.LDX
            self.cycles += 1
            self.acc = signed(self.data[self.registers[r] + self.acc & _MASK], WORD)
        return following

    def _operand(self, one: Instruction) -> int:
        if one.source == Source.IMM:
            return one.immediate
        # LDP and MULP choose one of a pair: this word or register, or the next one if ACC is negative.
        further = self.acc < 0 if one.op in (Alu.LDP, Alu.MULP) else 0
        if one.source == Source.REG:
            return signed(self.registers[one.r + further & REGISTERS - 1], WORD)
        address = self.registers[one.r]
        self.registers[one.r] = address + one.immediate & _MASK
        return signed(self.data[address + further & _MASK], WORD)

    def _alu(self, op: Alu, operand: int) -> None:
        if op in (Alu.LD, Alu.LDP):
            self.acc = operand
        elif op == Alu.ADD:
            self.acc += operand
        elif op == Alu.SUB:
            self.acc -= operand
        elif op == Alu.MIN:
            self.acc = min(self.acc, operand)
        elif op in (Alu.MUL, Alu.MULP):
            self.acc = signed(self.acc, WORD) * signed(operand, WORD)
        elif op == Alu.MAC:
            self.acc += self.t * signed(operand, WORD)
        elif op == Alu.LDT:
            self.t = signed(operand, WORD)
        else:
            assert op == Alu.BIT
            self.b = self.b >> 1 | (self.acc + operand >= 0) << (WORD - 1)

    def _store(self, r: int, immediate: int, word: int) -> None:
        address = self.registers[r]
        self.data[address] = word & _MASK
        self.stores.append((address, word & _MASK))
        self.registers[r] = address + immediate & _MASK

    def _dot(self, op: Control, r: int, count: int, base: int) -> None:
        ones, address = 0, self.registers[r]
        for k in range(count):
            word = self.data[address + k & _MASK]
            other = self.registers[base + k & REGISTERS - 1]
            ones += (word & other if op == Control.DOTA else word ^ other ^ _MASK).bit_count()
        self.acc += 2 * ones
        self.registers[r] = address + count & _MASK
        self.cycles += count
