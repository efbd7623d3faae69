"""An assembler: instructions one after the other, registers by name, loops as `with` blocks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from haarlequin.hw.scalar.isa import CODE, Alu, Control, Instruction, Source

SIGNS = 48
"""The first of the registers that no name takes: activations for DOT lie in them."""


@dataclass(frozen=True)
class At:
    """The word that a register points at, which then moves by ``step``."""

    pointer: str
    step: int = 0


Operand = At | str | int
"""A word of the data, a register or an immediate."""


class Assembler:
    """Collects ``code``. Registers get their number where they are first named, until their scope ends."""

    def __init__(self):
        self.code: list[Instruction] = []
        self._scopes: list[dict[str, int]] = [{}]
        self._used = 0

    def register(self, name: str) -> int:
        """The number of a register."""
        for scope in self._scopes:
            if name in scope:
                return scope[name]
        return self._allocate(name, 1)

    def pair(self, name: str) -> None:
        """Take two registers, the other one for LDP where ACC < 0: ``name`` and ``name``'."""
        self._allocate(name, 2)

    def _allocate(self, name: str, count: int) -> int:
        first, self._used = self._used, self._used + count
        assert self._used <= SIGNS, f"no register is left for {name}"
        for k in range(count):
            self._scopes[-1][name + "'" * k] = first + k
        return first

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Registers that are first named in here are free again behind it."""
        used = self._used
        self._scopes.append({})
        yield
        self._scopes.pop()
        self._used = used

    def __call__(self, op: Alu | Control, operand: Operand = 0, number: int = 0) -> None:
        """An ALU's instruction, or one of `Control` whose register and immediate these are."""
        if isinstance(op, Control):
            if isinstance(operand, At):
                operand, number = operand.pointer, operand.step
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
        """DOT or DOTA with the activations from the ``first`` on."""
        self(op, pointer, words | (SIGNS + first) << 6)

    def set(self, name: str, value: Operand) -> None:
        """Through ACC."""
        self(Alu.LD, value)
        self(Control.STR, name)

    def move_on(self, name: str, step: int) -> None:
        """Let a pointer move; takes ACC."""
        if step:
            self(Alu.LD, At(name, step))

    @contextmanager
    def loop(self, name: str, count: int, start: int | None = None) -> Iterator[None]:
        """Do the block ``count`` times, counted in a register of that name; takes ACC, which is ``start``
        when the block begins first.
        """
        if count > 1:
            self.set(name, count)
        if start is not None:
            self(Alu.LD, start)
        here = len(self.code)
        yield
        if count > 1:
            self(Control.DJNZ, name, here)
