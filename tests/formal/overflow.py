"""No assignment of the RTL cuts off what it computes, except where it is meant to.

Amaranth's operators give results that are wide enough, and an assignment takes as many bits as its target has.
So an accumulator or counter can only wrap where an assignment cuts bits off. All of these are found in the
statements of a block. Each gets a flag that is high where its condition holds and its value does not fit.
"""

from collections.abc import Callable, Iterator

from amaranth.hdl import Fragment, Module, Signal, Value
from amaranth.hdl._ast import Assign, Const, Operator, Slice, SwitchValue, Part, Concat, Statement, Switch

from tests.formal.design import Design, below


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
    """Whether an assignment can cut something off: its value has more bits than the target, and is computed."""
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


def flagged(statements: list[Statement], flags: dict[int, Signal]) -> list[Statement]:
    """The statements with only the assignments in ``flags``, each of which sets its flag instead."""
    kept: list[Statement] = []
    for statement in statements:
        if isinstance(statement, Switch):
            cases = [(patterns, flagged(inner, flags), at) for patterns, inner, at in statement.cases]
            if any(inner for _, inner, _ in cases):
                kept.append(Switch(statement.test, cases))
        elif id(statement) in flags:
            kept.append(flags[id(statement)].eq(cut_off(statement)))
    return kept


def target(statement: Assign) -> str:
    """The name of what an assignment sets."""
    return next(iter(statement.lhs._lhs_signals())).name
