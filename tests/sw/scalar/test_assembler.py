"""The assembler: which instructions its calls add, and which registers its names get."""

import pytest

from haarlequin.hw.scalar.isa import CODE, Alu, Control, Instruction, Source
from haarlequin.sw.scalar.assembler import SIGNS, Assembler, At


def test_a_name_keeps_its_register_until_its_scope_ends():
    a = Assembler()
    assert [a.register(name) for name in ("x", "y", "x")] == [0, 1, 0]
    with a.scope():
        assert [a.register(name) for name in ("x", "z", "w", "z")] == [0, 2, 3, 2]
    assert [a.register(name) for name in ("v", "z", "y")] == [2, 3, 1]


def test_a_pair_takes_two_registers():
    a = Assembler()
    a.pair("p")
    assert [a.register(name) for name in ("q", "p'", "p")] == [2, 1, 0]


def test_there_are_as_many_names_as_registers_before_the_activations():
    a = Assembler()
    assert [a.register(f"r{i}") for i in range(SIGNS)] == [*range(SIGNS)]
    with pytest.raises(AssertionError, match="no register is left for one"):
        a.register("one")


@pytest.mark.parametrize(
    ("operand", "expected"),
    [
        (-7, Instruction(Alu.ADD, Source.IMM, 0, -7)),
        ("y", Instruction(Alu.ADD, Source.REG, 1)),
        (At("y"), Instruction(Alu.ADD, Source.MEM, 1, 0)),
        (At("y", -3), Instruction(Alu.ADD, Source.MEM, 1, -3)),
    ],
)
def test_operands_of_the_alu(operand, expected):
    a = Assembler()
    a.register("x")
    a(Alu.ADD, operand)
    assert a.code == [expected]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((Control.ASR, 0, 9), Instruction(Control.ASR, Source.NONE, 0, 9)),
        ((Control.STR, "y"), Instruction(Control.STR, Source.NONE, 1, 0)),
        ((Control.ST, At("y", 5)), Instruction(Control.ST, Source.NONE, 1, 5)),
        ((Control.ST, At("y")), Instruction(Control.ST, Source.NONE, 1, 0)),
    ],
)
def test_control(arguments, expected):
    a = Assembler()
    a.register("x")
    a(*arguments)
    assert a.code == [expected]


@pytest.mark.parametrize(("first", "immediate"), [(0, 5 | 48 << 6), (3, 5 | 51 << 6)])
def test_a_dot_has_words_and_first_activation(first, immediate):
    a = Assembler()
    a.dot(Control.DOTA, "p", 5, first)
    assert a.code == [Instruction(Control.DOTA, Source.NONE, 0, immediate)]


def test_pointers_move_unless_by_nothing():
    a = Assembler()
    a.move_on("p", 0)
    assert a.code == []
    a.move_on("p", -4)
    assert a.code == [Instruction(Alu.LD, Source.MEM, 0, -4)]


SET = [Instruction(Alu.LD, Source.IMM, 0, 3), Instruction(Control.STR, Source.NONE, 0)]
BODY = Instruction(Alu.ADD, Source.IMM, 0, 1)


@pytest.mark.parametrize(
    ("count", "start", "expected"),
    [
        (1, None, [BODY]),
        (1, 8, [Instruction(Alu.LD, Source.IMM, 0, 8), BODY]),
        (3, None, [*SET, BODY, Instruction(Control.DJNZ, Source.NONE, 0, 2)]),
        (
            3,
            0,
            [*SET, Instruction(Alu.LD, Source.IMM, 0, 0), BODY, Instruction(Control.DJNZ, Source.NONE, 0, 3)],
        ),
    ],
)
def test_loops(count, start, expected):
    a = Assembler()
    with a.loop("i", count, start):
        a(Alu.ADD, 1)
    assert a.code == expected


def test_code_that_is_too_long():
    a = Assembler()
    for _ in range(CODE):
        a(Alu.ADD, 1)
    with pytest.raises(AssertionError, match=f"more than {CODE} instructions"):
        a(Alu.ADD, 1)
