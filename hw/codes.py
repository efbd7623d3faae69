"""Enums of the coded fields, one definition each for RTL, compiler and emulator."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # without Amaranth, for mypy: an enum that may say its shape
    from enum import IntEnum
else:
    from amaranth.lib.enum import IntEnum


class Operand(IntEnum, shape=2):
    """Where a pass's shortcut comes from."""

    NONE = 0
    BANK_A = 1
    BANK_B = 2


class Activation(IntEnum, shape=2):
    """The word that a pass broadcasts to the lanes: ones, or one of a sign memory."""

    ONES = 0
    SIGNS_0 = 1
    SIGNS_1 = 2


class SignMemory(IntEnum, shape=1):
    """One of the two sign memories, and the fields of a pass that belong to it."""

    SIGNS_0 = 0
    """Signs that queries are made from, queries, rows of Â, signs of the context, u."""
    SIGNS_1 = 1
    """Signs that keys, values and expand are made from, keys, V."""

    @property
    def activation(self) -> Activation:
        """Broadcasts its words."""
        return Activation[self.name]

    @property
    def reads(self) -> str:
        """Name of the field that has the address of its words as they are read."""
        return f"signs_{self.value}"

    @property
    def writes(self) -> str:
        """Name of the field by which signs of results are written into it."""
        return f"bits_{self.value}"


class ResultPart(IntEnum, shape=2):
    """Kinds of words of an image's result, in the order in which they leave."""

    LOGITS = 0
    CYCLES = 1
    SATURATIONS = 2


class OperationCode(IntEnum, shape=4):
    """The operation that the machine counts a cycle for; WAITING while no pass runs."""

    SIGNS = 0
    HAAR = 1
    QUERIES_AND_KEYS = 2
    VALUES = 3
    SCORES = 4
    CONTEXT = 5
    OUTPUT = 6
    EXPAND = 7
    REDUCE = 8
    WAITING = 9

    @property
    def title(self) -> str:
        """Its name for people, and in the tables' manifest."""
        return "Haar" if self is OperationCode.HAAR else self.name.lower().replace("_", " ")
