"""An assembler: instructions one after another, registers by name, loops as `with` blocks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from haarlequin.hw.scalar.isa import CODE, Alu, Control, Instruction, Source

SIGNS = 48
"""The registers from this number on have no names: the activations for DOT lie in them."""


@dataclass(frozen=True)
class At:
    """The word that a register points at, which then moves by ``step``."""

    pointer: str
    step: int = 0


Operand = At | str | int
"""A word of the data, a register or an immediate."""


class Assembler:
    """Collects instructions in ``code``. A register has its number from its first use to the end of
    its scope.
    """

    def __init__(self):
        self.code: list[Instruction] = []
        self._scopes: list[dict[str, int]] = [{}]
        self._used = 0

    def register(self, name: str) -> int:
        """The number of the register with that name; a new name gets a free register."""
        for scope in self._scopes:
            if name in scope:
                return scope[name]
        return self._allocate(name, 1)

    def pair(self, name: str) -> None:
        """Take two registers, ``name`` and ``name``'. LDP and MULP use the second one where ACC < 0."""
        self._allocate(name, 2)

    def _allocate(self, name: str, count: int) -> int:
        first, self._used = self._used, self._used + count
        assert self._used <= SIGNS, f"no register is left for {name}"
        for k in range(count):
            self._scopes[-1][name + "'" * k] = first + k
        return first

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Registers that are first named within this block are free again after it."""
        used = self._used
        self._scopes.append({})
        yield
        self._scopes.pop()
        self._used = used

    def __call__(self, op: Alu | Control, operand: Operand = 0, number: int = 0) -> None:
        """Add an instruction: the ALU's with an operand, or one of `Control` with register and immediate."""
        if isinstance(op, Control):
            if isinstance(operand, At):
                number, operand = operand.step, operand.pointer
            r = self.register(operand) if isinstance(operand, str) else operand
            self._add(Instruction(op, Source.NONE, r, number))
        elif isinstance(operand, At):
            self._add(Instruction(op, Source.MEM, self.register(operand.pointer), operand.step))
        elif isinstance(operand, str):
            self._add(Instruction(op, Source.REG, self.register(operand)))
        else:
            self._add(Instruction(op, Source.IMM, 0, operand))

    def _add(self, one: Instruction) -> None:
        self.code.append(one)
        assert len(self.code) <= CODE, f"more than {CODE} instructions"

    def dot(self, op: Control, pointer: str, words: int, first: int = 0) -> None:
        """Add DOT or DOTA over ``words`` words, with the activations from number ``first`` on."""
        self(op, pointer, words | (SIGNS + first) << 6)

    def set(self, name: str, value: Operand) -> None:
        """Set a register to a value, by way of ACC."""
        self(Alu.LD, value)
        self(Control.STR, name)

    def move_on(self, name: str, step: int) -> None:
        """Move a pointer by ``step``; changes ACC."""
        if step:
            self(Alu.LD, At(name, step))

    @contextmanager
    def loop(self, name: str, count: int, start: int | None = None) -> Iterator[None]:
        """Repeat the block ``count`` times, with the register ``name`` as counter.

        Setting the counter changes ACC. With ``start``, ACC has that value when the block begins for the
        first time.
        """
        if count > 1:
            self.set(name, count)
        if start is not None:
            self(Alu.LD, start)
        here = len(self.code)
        yield
        if count > 1:
            self(Control.DJNZ, name, here)
