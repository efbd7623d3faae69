"""Instructions as words."""

import random

import pytest

from haarlequin.hw.common.counters import COUNTER_BITS
from haarlequin.hw.link.protocol import COUNTERS_MEMORY
from haarlequin.hw.scalar.isa import (
    CODE,
    IMMEDIATE,
    INSTRUCTION,
    REGISTERS,
    UNSIGNED,
    Alu,
    Control,
    Instruction,
    R,
    Source,
    decode,
    memories,
)


def random_instruction(generator: random.Random) -> Instruction:
    """Any one that there is."""
    if generator.random() < 0.4:
        op, half = generator.choice(list(Control)), 1 << IMMEDIATE - 1
        low, high = (0, UNSIGNED[op]) if op in UNSIGNED else (-half, half - 1)
        return Instruction(op, Source.NONE, generator.randrange(REGISTERS), generator.randint(low, high))
    op, source = generator.choice(list(Alu)), generator.choice(list(Source)[:-1])
    if source == Source.IMM:
        bits = R + IMMEDIATE
        return Instruction(op, source, 0, generator.randrange(1 << bits) - (1 << bits - 1))
    immediate = generator.randrange(1 << IMMEDIATE) - (1 << IMMEDIATE - 1)
    return Instruction(op, source, generator.randrange(REGISTERS), immediate)


def test_words_are_read_back():
    generator = random.Random(1)
    for _ in range(3000):
        one = random_instruction(generator)
        word = one.encode()
        assert 0 <= word < 1 << INSTRUCTION
        assert decode(word) == one


def test_a_layout():
    jump = Instruction(Control.DJNZ, Source.NONE, 5, CODE - 1)
    assert jump.encode() == 10 | 3 << 4 | 5 << 6 | CODE - 1 << 12
    assert Instruction(Alu.ADD, Source.MEM, 3, -1).encode() == 1 | 3 << 6 | 0xFFF << 12
    assert Instruction(Alu.LD, Source.IMM, 0, -2).encode() == 2 << 4 | 0x3FFFE << 6


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((Alu.LD,), "LD takes no operand from NONE"),
        ((Control.ST, Source.MEM), "ST takes no operand from MEM"),
        ((Alu.LD, Source.IMM, 0, 1 << 17), "LD: 131072 is not within -131072 to 131071"),
        ((Alu.LD, Source.IMM, 1, 0), "LD: an immediate leaves no room for a register"),
        ((Alu.LD, Source.REG, 64), "LD: there is no register 64"),
        ((Control.JMP, Source.NONE, 0, -1), "JMP: -1 is not within 0 to 1023"),
        ((Control.SAT, Source.NONE, 0, 2), "SAT: 2 is not within 0 to 1"),
        ((Control.ASR, Source.NONE, 0, 64), "ASR: 64 is not within 0 to 63"),
        ((Control.ST, Source.NONE, 0, 2048), "ST: 2048 is not within -2048 to 2047"),
    ],
)
def test_what_has_no_word(fields, message):
    with pytest.raises(ValueError, match=message):
        Instruction(*fields)


def test_what_is_no_instruction():
    with pytest.raises(ValueError, match="15 is not a valid"):
        decode(15)


def test_they_say_what_they_are():
    assert str(Instruction(Alu.ADD, Source.MEM, 3, 1)) == "ADD [R3], +1"
    assert str(Instruction(Alu.MUL, Source.REG, 4)) == "MUL R4"
    assert str(Instruction(Alu.LD, Source.IMM, 0, -7)) == "LD #-7"
    assert str(Instruction(Control.ASR, Source.NONE, 0, 8)) == "ASR R0, 8"


def test_the_memories_that_a_host_can_reach():
    reached = {memory.name: (memory.width, memory.depth) for memory in memories(words=3000, pixels=70)}
    counters = reached.pop(COUNTERS_MEMORY)
    assert counters == (COUNTER_BITS, 1)  # the cycles are as wide as those of an image
    assert reached == {
        "settings": (16, 2),
        "code": (INSTRUCTION, CODE),
        "data": (16, 3000),
        "pixels": (8, 70),
    }
