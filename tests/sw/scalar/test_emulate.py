"""What each instruction does, and how long it takes."""

import pytest

from haarlequin.hw.scalar.isa import Alu, Control, Instruction, Saturation, Source
from haarlequin.sw.scalar.emulate import Emulator, FirmwareError

HALT = Instruction(Control.HALT)


def imm(op: Alu, value: int) -> Instruction:
    return Instruction(op, Source.IMM, 0, value)


def mem(op: Alu, r: int, step: int = 0) -> Instruction:
    return Instruction(op, Source.MEM, r, step)


def reg(op: Alu, r: int) -> Instruction:
    return Instruction(op, Source.REG, r)


def do(op: Control, r: int = 0, immediate: int = 0) -> Instruction:
    return Instruction(op, Source.NONE, r, immediate)


def point(r: int, address: int) -> list[Instruction]:
    return [imm(Alu.LD, address), do(Control.STR, r)]


def ran(*code: Instruction, data=(0,) * 8) -> Emulator:
    """The state of the core after that code."""
    emulator = Emulator([one.encode() for one in (*code, HALT)], list(data))
    emulator.run()
    return emulator


@pytest.mark.parametrize(
    ("code", "acc", "cycles"),
    [
        ([imm(Alu.LD, -5)], -5, 2),
        ([imm(Alu.LD, 70_000), imm(Alu.SUB, 70_001)], -1, 4),
        ([imm(Alu.LD, -5), imm(Alu.MIN, 3)], -5, 4),
        ([imm(Alu.LD, 5), imm(Alu.MIN, 3)], 3, 4),
        ([imm(Alu.LD, 300), imm(Alu.MUL, -200)], -60_000, 4),
        ([imm(Alu.LD, 0x18000), imm(Alu.MUL, 2)], -65_536, 4),
        ([imm(Alu.LDT, -7), imm(Alu.LD, 1), imm(Alu.MAC, 0x10003)], -20, 6),
        ([imm(Alu.LD, -9), do(Control.ASR, 0, 1)], -5, 2 + 4),
        ([imm(Alu.LD, -9), do(Control.ASRR, 0, 1)], -4, 2 + 4),
        ([imm(Alu.LD, 0x17FFF), do(Control.ASRR, 0, 10)], 96, 2 + 3 + 1 + 2),
        ([imm(Alu.LD, 3), do(Control.ASRR, 0, 0)], 3, 2 + 3),
        ([imm(Alu.LD, 3000), do(Control.SAT, 0, Saturation.WIDE)], 2047, 4),
        ([imm(Alu.LD, -129), do(Control.SAT, 0, Saturation.FEATURE)], -128, 4),
        ([*point(3, 2), mem(Alu.LD, 3)], -3, 4 + 3),
        ([*point(3, 1), imm(Alu.LD, 1), do(Control.LDX, 3)], -3, 4 + 2 + 3),
        ([*point(3, 2), imm(Alu.LD, 0), mem(Alu.LDP, 3)], -3, 4 + 2 + 3),
        ([*point(3, 2), imm(Alu.LD, -1), mem(Alu.LDP, 3)], 4, 4 + 2 + 3),
        ([*point(3, 7), *point(4, 9), imm(Alu.LD, -2), reg(Alu.MULP, 3)], -18, 8 + 2 + 2),
        ([*point(3, 7), *point(4, 9), imm(Alu.LD, 2), reg(Alu.MULP, 3)], 14, 8 + 2 + 2),
    ],
)
def test_acc_and_cycles(code, acc, cycles):
    emulator = ran(*code, data=[1, 2, 0xFFFD, 4])
    assert emulator.acc == acc
    assert emulator.cycles == cycles + 2


def test_pointers_move_by_the_immediate():
    emulator = ran(*point(3, 2), mem(Alu.LD, 3, -2), mem(Alu.ADD, 3, 5), data=[10, 20, 30])
    assert (emulator.acc, emulator.registers[3]) == (40, 5)


def test_saturations_are_counted():
    code = [imm(Alu.LD, 2048), do(Control.SAT), do(Control.SAT), imm(Alu.LD, -3000), do(Control.SAT)]
    assert ran(*code).saturations == 2


def test_stores():
    code = [*point(3, 5), imm(Alu.LD, -1), do(Control.ST, 3, 2), imm(Alu.BIT, 0), imm(Alu.BIT, 1)]
    emulator = ran(*code, do(Control.STB, 3, 1), do(Control.STBR, 9))
    assert emulator.stores == [(5, 0xFFFF), (7, 0x8000)]
    assert (emulator.data[7], emulator.registers[3], emulator.registers[9]) == (0x8000, 8, 0x8000)


def test_dot_products():
    words = [0b1010, 0xFFFF]
    code = [*point(50, 0b0110), *point(51, 0xFF00), *point(3, 0), imm(Alu.LD, -32)]
    both = ran(*code, do(Control.DOT, 3, 2 | 50 << 6), data=words)
    assert both.acc == -32 + 2 * (14 + 8)
    assert (both.registers[3], both.cycles) == (2, 14 + 2 + 2 + 2)
    assert ran(*code, do(Control.DOTA, 3, 2 | 50 << 6), data=words).acc == -32 + 2 * (1 + 8)


def test_loops_and_results():
    code = [*point(2, 3), imm(Alu.LD, 10), imm(Alu.ADD, 1), do(Control.OUT), do(Control.DJNZ, 2, 3)]
    emulator = ran(*code, do(Control.JMP, 0, 8), imm(Alu.LD, 0))
    assert emulator.results == [11, 12, 13]
    assert emulator.acc == 13
    assert emulator.cycles == 2 * (3 + 3 * 3 + 2)


def test_an_image_begins_anew():
    emulator = ran(imm(Alu.LD, 5000), do(Control.SAT), do(Control.OUT))
    emulator.run()
    assert (emulator.results, emulator.saturations, emulator.cycles) == ([2047], 1, 8)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ([imm(Alu.LD, 1)], "the code ends at instruction 1, without a HALT"),
        (
            [imm(Alu.LDT, 0x7FFF), *[imm(Alu.MAC, 0x7FFF)] * 3],
            "MAC #32767, instruction 3: ACC overflows",
        ),
    ],
)
def test_faulty_code(code, message):
    with pytest.raises(FirmwareError, match=message):
        Emulator([one.encode() for one in code], []).run()
