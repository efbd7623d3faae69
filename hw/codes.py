"""The enums of coded fields. RTL, compiler and emulator share these definitions."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # mypy runs without Amaranth, and reads these as plain enums
    from enum import IntEnum
else:
    from amaranth.lib.enum import IntEnum


class Operand(IntEnum, shape=2):
    """The memory from which the shortcut of a pass comes."""

    NONE = 0
    BANK_A = 1
    BANK_B = 2


class Activation(IntEnum, shape=2):
    """The source of the words that a pass broadcasts to the lanes: none that matters, a sign memory, or the
    lower half of a word of sign memory 0 and the upper half of one of sign memory 1.
    """

    NONE = 0
    SIGNS_0 = 1
    SIGNS_1 = 2
    PAIRS = 3


class SignMemory(IntEnum, shape=1):
    """The two sign memories, and the fields of a pass that belong to each."""

    SIGNS_0 = 0
    """Holds the signs from which queries are made, queries, rows of Â, signs of the context, and u."""
    SIGNS_1 = 1
    """Holds the signs from which keys, values and expand are made, keys, and V."""

    @property
    def activation(self) -> Activation:
        """The activation that broadcasts the words of this memory."""
        return Activation[self.name]

    @property
    def reads(self) -> str:
        """The name of the field with the address from which its words are read."""
        return f"signs_{self.value}"

    @property
    def writes(self) -> str:
        """The name of the field that writes the signs of results into this memory."""
        return f"bits_{self.value}"


class ResultPart(IntEnum, shape=2):
    """The kinds of words in the result of an image, in the order in which they are sent."""

    ANSWERS = 0
    CYCLES = 1
    SATURATIONS = 2


class OperationCode(IntEnum, shape=4):
    """The operation for which the machine counts a cycle. It is WAITING while no pass runs, and LATE while
    the next pass of an image waits for its weights alone.
    """

    SIGNS = 0
    HAAR = 1
    QUERIES_AND_KEYS = 2
    VALUES = 3
    SCORES = 4
    CONTEXT = 5
    OUTPUT = 6
    EXPAND = 7
    REDUCE = 8
    CONVOLUTION = 9
    MERGE = 10
    HEAD = 11
    WAITING = 12
    LATE = 13

    @property
    def title(self) -> str:
        """The name of the operation for people, and in the manifest of the tables."""
        return "Haar" if self is OperationCode.HAAR else self.name.lower().replace("_", " ")
