"""`Timeline`, which issues passes one after the other, and knows what each has to wait for."""

from collections.abc import Iterable
from dataclasses import dataclass

from haarlequin.hw.timing import clips_counted
from haarlequin.sw.plan.machine import Machine

UPDATES = 4
"""Updates that a pass reads while the pass before it streams, on average; two more cycles end it."""


def split(size: int, part: int) -> int:
    """⌈size / part⌉"""
    return -(-size // part)


@dataclass
class Operation:
    """One kind of operation over a whole image."""

    name: str
    steps: int = 0
    """Passes that leave partial sums."""
    finals: int = 0
    """Passes that make results."""
    runs: int = 0
    """How often it begins after another operation."""
    cycles: int = 0
    waits: int = 0
    """How many of the cycles issue nothing."""
    bit_macs: int = 0

    @property
    def passes(self) -> int:
        return self.steps + self.finals


class Timeline:
    """The issue of an image's passes.

    Members:
        now: when the next pass begins unless it waits.
        final: when the latest pass with results began.
        signs: the first cycle for a pass that reads the latest signs from their first word on.
        haar: the first cycle for a pass that writes signs, because the Haar unit does so until then.
        bank_a, bank_b: the first cycles for passes that read a shortcut there.
    """

    def __init__(self, machine: Machine):
        self.machine = machine
        self.now = self.final = self.signs = self.haar = self.bank_a = self.bank_b = 0
        self.operations: dict[str, Operation] = {}
        self._attended = self._transposed = 0
        self._latest: Operation | None = None

    def operation(self, name: str) -> Operation:
        """The operation of that name, which goes on or begins."""
        found = self.operations.setdefault(name, Operation(name))
        found.runs += found is not self._latest
        self._latest = found
        return found

    def idle(self, name: str, until: int) -> None:
        """Issue nothing before a cycle."""
        operation, cycles = self.operation(name), max(0, until - self.now)
        operation.waits += cycles
        operation.cycles += cycles
        self.now += cycles

    def tile(
        self, name: str, tokens: int, steps: int = 1, *, begin: int = 0, final: Iterable[int] = ()
    ) -> None:
        """Issue the passes of a tile of channels: ``steps``, the last of which makes results.

        The first may not begin before ``begin``, and the last not before any of ``final``. Each of the others
        adds to the partial sums in bank A, which must be there when they are looked up.
        """
        m, operation = self.machine, self.operation(name)
        partial = m.shortcut - m.partial
        interval = max(tokens, m.lanes, UPDATES + 2, m.written - m.partial if steps > 1 else 0)
        for step in range(steps):
            bounds = [self.bank_a + partial if step else begin, *(final if step == steps - 1 else ())]
            self.idle(name, max(bounds))
            self.final = self.now
            self.now += interval
        operation.steps += steps - 1
        operation.finals += 1
        operation.cycles += steps * interval

    def writes_signs(self) -> None:
        """The latest tile's signs, and those of the tiles before, are what the next operation reads."""
        self.signs = self.final + self.machine.signed

    def reads_residual(self) -> None:
        """The latest pass looked up residuals in bank B, and does so later than others look up shortcuts."""
        self.bank_b = max(self.bank_b, self.now + self.machine.residual - self.machine.shortcut)

    def split_bands(self, cycles: int, copied: bool) -> None:
        """The Haar unit takes x of the latest tile in so many cycles, from bank B or, if it was ``copied``,
        from bank A.
        """
        self.haar = max(self.now, self.haar) + cycles
        free = self.haar + self.machine.residual - self.machine.shortcut - 1
        if copied:
            self.bank_a = max(self.bank_a, free)
        else:
            self.bank_b = max(self.bank_b, free)

    def softmax(self, name: str, rows: int, key_tiles: int) -> int:
        """A softmax of so many rows begins with the next pass, after the softmax before it.

        Returns the first cycle for a pass that reads its rows of Â.
        """
        m = self.machine
        self.idle(name, self._attended + 1 - m.softmax)
        row, first = key_tiles * m.slow, self.now + m.softmax
        self.bank_a = max(self.bank_a, first + rows * row - m.slow + 1 - m.shortcut)
        written = first + m.attention + row - m.slow  # after the last look-up of a row
        self._attended = written + rows * row
        return written + rows * row - (rows - 1)

    def transpose(self, tokens: int) -> int:
        """The latest tile of V is transposed. Returns the first cycle for a pass that loads it."""
        m = self.machine
        self._transposed = max(self._transposed, self.final + tokens + m.written) + m.rounds * tokens
        return self._transposed - m.lanes

    def end(self) -> None:
        """The image ends when the saturations of the last pass are counted."""
        assert self._latest
        self.idle(self._latest.name, self.now - 1 + self.machine.written + clips_counted(self.machine.lanes))
