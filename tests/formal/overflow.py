"""No assignment of the RTL cuts off what it computes, except where it is meant to.

Amaranth's operators give results that are wide enough; an assignment takes as many bits as its target has.
So an accumulator or counter can only wrap where an assignment cuts bits off. All of these are found in the
statements of a block. Each gets a flag that is high where its condition holds and its value does not fit.
"""

import linecache
import re
from collections.abc import Iterator
from dataclasses import replace

from amaranth.hdl import Fragment, Signal, Value
from amaranth.hdl._ast import Assign, Operator, Statement, Switch, SwitchValue
from amaranth.hdl._xfrm import TransformedElaboratable
from amaranth.lib import wiring

from haarlequin.hw.presets import CONFIGS
from tests.formal.allowed import MODULO, address
from tests.formal.design import Design, below
from tests.formal.streams import origin
from tests.formal.sums import PREPARE


def computes(value: Value) -> bool:
    """Whether a value comes from an addition, subtraction, negation, product or shift to the left."""
    if isinstance(value, Operator):
        if value.operator in ("+", "-", "*", "<<", "//"):
            return True
        return value.operator in ("u", "s", ">>", "m") and any(map(computes, value.operands))
    if isinstance(value, SwitchValue):
        return any(computes(each) for _, each in value.cases)
    return False


def cuts(statement: Assign) -> bool:
    """Whether an assignment can cut something off: a computed value has more bits than the target."""
    target, value = statement.lhs.shape(), statement.rhs.shape()
    fits = value.width <= target.width and (not target.signed or value.signed or value.width < target.width)
    return not fits and computes(statement.rhs)


def cut_off(statement: Assign) -> Value:
    """1 where the assigned value is not the value of the right side."""
    width, value = len(statement.lhs), statement.rhs
    taken = value[:width].as_signed() if statement.lhs.shape().signed else value[:width]
    return taken != value


def assignments(statements: list[Statement]) -> Iterator[Assign]:
    """Every assignment that can cut something off."""
    for statement in statements:
        if isinstance(statement, Switch):
            for _, inner, _ in statement.cases:
                yield from assignments(inner)
        elif isinstance(statement, Assign) and cuts(statement):
            yield statement


Flag = tuple[Assign, Signal]


def flagged(statements: list[Statement], flags: dict[int, Flag]) -> list[Statement]:
    """The statements with only the assignments in ``flags``, each of which sets its flag instead.

    An assignment that a later one overrides does not count.
    """
    kept: list[Statement] = []
    for statement in statements:
        if isinstance(statement, Switch):
            cases = [(patterns, flagged(inner, flags), at) for patterns, inner, at in statement.cases]
            if any(inner for _, inner, _ in cases):
                kept.append(Switch(statement.test, cases))
        elif isinstance(statement, Assign):
            for number, (at, flag) in flags.items():
                if number == id(statement):
                    kept.append(flag.eq(cut_off(statement)))
                elif (
                    repr(at.lhs) == repr(statement.lhs)
                    and at.lhs._lhs_signals() == statement.lhs._lhs_signals()
                ):
                    kept.append(flag.eq(0))
    return kept


def _same(one: Value, other: Value) -> bool:
    return repr(one) == repr(other) and one._lhs_signals() == other._lhs_signals()


def target(statement: Assign) -> str:
    """The name of what an assignment sets, or, where Amaranth found none, how the RTL's text calls it."""
    name = next(iter(statement.lhs._lhs_signals())).name
    if name.startswith("$"):
        name = re.search(r"([\w.]+)(\[\w+\])?\.eq\(", linecache.getline(*statement.src_loc))[1].replace(
            ".", "__"
        )
    return name


SIZES = replace(CONFIGS["32x128-masks"], lanes=2, width=64, macs=2, max_classes=32)
"""The largest preset of a board, with few lanes and multipliers, as all of them are alike."""


def block_name(part: Fragment) -> str:
    """The class that a fragment was made of."""
    origins = [each for each in part.origins or () if not isinstance(each, TransformedElaboratable)]
    return type(origins[0]).__name__ if origins else ""


class OverflowDesign(Design):
    """A block without the components within it, with a flag for each assignment that must not cut off.

    A flag is seen one cycle late, when the lemmas of its cycle are known.
    """

    def __init__(self, component: wiring.Component):
        self.meant: set[str] = set()
        """Those of its assignments that `MODULO` or `address` allows."""
        super().__init__(component, lambda part: origin(part) is not None)
        PREPARE.get(type(component).__name__, lambda design, block: None)(self, component)
        for part in below(self.fragment):
            for statements in [*part.statements.values()]:
                flags = self._flags(block_name(part), assignments(statements))
                for statement in flagged(statements, flags):
                    part.add_statements("comb", statement)
                for name, flag in [*self._late.items()]:
                    late = Signal(name=f"late_{name}")
                    self.m.d.sync += late.eq(flag)
                    self.never(name, late)

    def _flags(self, block: str, found: Iterator[Assign]) -> dict[int, Flag]:
        flags, self._late = {}, {}
        for statement in found:
            name = f"{block}.{target(statement)}"
            if name in MODULO or address(target(statement)):
                self.meant.add(name)
                continue
            flag = Signal(name=f"cut_{name}_{len(self.flags) + len(flags)}")
            flags[id(statement)] = statement, flag
            again = sum(each.partition("#")[0] == name for each in (*self.flags, *self._late))
            self._late[f"{name}#{again + 1}" if again else name] = flag
        return flags
