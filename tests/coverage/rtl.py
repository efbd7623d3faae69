"""Which statements of a design are in force in a simulation, by the lines of Python that they come from.

Amaranth's Verilog has no source attributes on the branches of its processes, so Verilator's own line coverage
would name lines of generated text. Here each branch of a design gets a register that is set at the first
clock edge at which the branch is in force. A branch is one body of `m.If`, `m.Elif`, `m.Else`, `m.Case` or
`m.State`; what stands outside of all of them is always in force. The same registers work in both simulators.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from amaranth.hdl import Cat, Fragment, Instance, Signal
from amaranth.hdl._ast import Assign, Statement, Switch

from haarlequin.hw.accelerator import Accelerator
from haarlequin.models.common.places import ROOT
from haarlequin.sw.verilated.accelerator import CLOCK_HZ, TIMEOUT

Line = tuple[str, int]
"""(path from the root of the repository, number of the line)."""

SINK = """
module coverage_sink #(parameter WIDTH = 1, parameter FILE = "") (input [WIDTH-1:0] covered);
    integer file;
    final begin
        file = $fopen(FILE, "a");
        $fwrite(file, "%b\\n", covered);
        $fclose(file);
    end
endmodule
"""
"""Appends a line of bits to a file when a simulation ends, the last branch first."""


@dataclass(frozen=True)
class Branch:
    """The statements of one branch, whether it is in force, and the register that says that it once was."""

    lines: frozenset[Line]
    covered: Signal
    hit: Signal


@dataclass
class Lines:
    """Lines with statements of the RTL, and those of them that were in force."""

    known: set[Line] = field(default_factory=set)
    covered: set[Line] = field(default_factory=set)

    def add(self, other: "Lines") -> None:
        self.known |= other.known
        self.covered |= other.covered


def instrument(fragment: Fragment) -> tuple[list[Branch], set[Line]]:
    """Add a register to every branch of a fragment and of those below it.

    Returns the branches, and the lines of statements that are always in force.
    """
    branches: list[Branch] = []
    always: set[Line] = set()
    _instrument(fragment, branches, always, set())
    return branches, always


def _instrument(fragment: Fragment, branches: list[Branch], always: set[Line], seen: set[int]) -> None:
    if id(fragment) in seen:
        return
    seen.add(id(fragment))
    for domain, statements in list(fragment.statements.items()):
        always |= _lines(statements)
        added: list[Branch] = []
        hits: list[Statement] = list(_marked(statements, added))
        if added:
            fragment.add_statements("comb", hits)
            clocked = "sync" if domain == "comb" else domain
            for branch in added:
                fragment.add_statements(clocked, branch.covered.eq(branch.covered | branch.hit))
        branches += added
    for subfragment, _, _ in fragment.subfragments:
        _instrument(subfragment, branches, always, seen)


def _lines(statements: Iterable[Statement]) -> frozenset[Line]:
    """The lines of the RTL that assign something, without those in branches further in."""
    places = (
        statement.src_loc for statement in statements if isinstance(statement, Assign) and statement.src_loc
    )
    return frozenset((path, line) for name, line in places if (path := _path(name)).startswith("hw/"))


def _path(name: str) -> str:
    path = Path(name)
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else name


def _marked(statements: Iterable[Statement], branches: list[Branch]) -> Iterator[Statement]:
    """The switches of some statements, with a mark in each branch in place of what it assigns."""
    for statement in statements:
        if not isinstance(statement, Switch):
            continue
        cases = []
        for patterns, body, place in statement.cases:
            marks: list[Statement] = []
            if lines := _lines(body):
                covered, hit = Signal(name="covered", reset_less=True), Signal(name="hit")
                branches.append(Branch(lines, covered, hit))
                marks.append(hit.eq(1))
            marks += _marked(body, branches)
            cases.append((patterns, marks, place))
        yield Switch(statement.test, cases, src_loc=statement.src_loc)


class Covered(Accelerator):
    """An accelerator that appends one bit for each branch to ``file`` when its simulation ends."""

    def __init__(self, machine, file: Path):
        super().__init__(machine, CLOCK_HZ, TIMEOUT)
        self.file = file
        self.branches: list[Branch] = []
        self.always: set[Line] = set()

    def elaborate(self, platform) -> Fragment:
        fragment = Fragment.get(super().elaborate(platform), platform)
        self.branches, self.always = instrument(fragment)
        bits = Cat(branch.covered for branch in self.branches)
        sink = Instance("coverage_sink", p_WIDTH=len(bits), p_FILE=str(self.file), i_covered=bits)
        fragment.add_subfragment(sink, "coverage_sink")
        return fragment

    def lines(self) -> Lines:
        """The statements in force in the simulations that have ended since ``file`` was removed."""
        found = Lines({*self.always}, {*self.always})
        texts = self.file.read_text(encoding="utf-8").split()
        for i, branch in enumerate(self.branches):
            found.known |= branch.lines
            if any(text[-1 - i] == "1" for text in texts):
                found.covered |= branch.lines
        return found
