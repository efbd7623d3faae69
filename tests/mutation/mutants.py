"""The places where a source file can be broken, each with what stands there afterwards.

The libraries that mutate Python, mutmut and cosmic-ray, know operators, numbers and conditions. Amaranth's
code is also wrong where a register is left out, a reset has another value, two operands of `Mux` are swapped,
a sign is not extended, or an address goes to the other bank. So all kinds are made here, from Python's own
syntax tree.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}
TWINS = {
    "bank": ("bank_a bank_b", "a b", "q k", "read write", "rx tx", "low high", "lo hi"),
    "edge": ("first last", "row column", "rows columns", "dy dx", "start end", "left right", "lower upper"),
    "sign": ("as_signed as_unsigned", "signed unsigned"),
    "limit": ("min max", "any all", "floor ceil"),
}
"""Names that are easily mistaken for each other, by the kind of mutant."""

_DOMAIN = re.compile(r"m\.d\.(sync|comb)")


@dataclass(frozen=True)
class Mutant:
    """One place of a file, broken."""

    line: int
    """Where it is, counted from 1; it moves with the lines above, so that nothing is found again by it."""
    kind: str
    start: int
    end: int
    """Which bytes of the file are replaced."""
    old: str
    new: str
    number: int = 1
    """Which of those that read alike, from the beginning of the file."""

    def apply(self, source: str) -> str:
        """The file with this place broken."""
        raw = source.encode()
        return (raw[: self.start] + self.new.encode() + raw[self.end :]).decode()

    def __str__(self) -> str:
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.kind}: {old} → {new}" + (f" (number {self.number})" if self.number > 1 else "")


@cache
def mutants(source: str) -> tuple[Mutant, ...]:
    """All mutants of a file, in the order of its lines; each changes the tree, and none is there twice."""
    tree = ast.parse(source)
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    found: dict[tuple[int, int, str], Mutant] = {}
    tests: set[ast.AST] = set()  # conditions of Python, met before their parts
    shapes = {part for node in ast.walk(tree) for part in _shape(node)}
    for node in _executed(tree):
        tests |= {node.test} if isinstance(node, ast.If | ast.While) else set()
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        old = source.encode()[start:end].decode()
        changes = list(_changes(node, names))
        if node in tests and isinstance(node, ast.Name | ast.Attribute | ast.Call):
            changes.append(("condition", ast.UnaryOp(ast.Not(), node)))
        for kind, new in changes:
            if node in shapes and isinstance(new, ast.Constant) and new.value > node.value:
                continue  # a register that is wider than it must be costs gates, and computes the same
            text = ast.unparse(new)
            if not isinstance(new, ast.stmt | ast.Name | ast.Constant | ast.Call | ast.Attribute):
                text = f"({text})"
            if text != old:
                found.setdefault((start, end, text), Mutant(node.lineno, kind, start, end, old, text))
    counts: Counter[str] = Counter()
    numbered = []
    for mutant in sorted(found.values(), key=lambda mutant: (mutant.start, mutant.end, mutant.new)):
        counts[str(mutant)] += 1
        numbered.append(replace(mutant, number=counts[str(mutant)]))
    return tuple(numbered)


def _executed(node: ast.AST) -> Iterator[ast.stmt | ast.expr]:
    """All that decides results: no types of Python, docstrings, messages, decorators and imports."""
    for child in _children(node):
        if isinstance(child, ast.Raise | ast.Assert | ast.Import | ast.ImportFrom | ast.JoinedStr):
            continue
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue
        if isinstance(child, ast.stmt | ast.expr):
            yield child
        yield from _executed(child)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    for name, value in ast.iter_fields(node):
        if name in ("decorator_list", "returns", "type_comment", "ctx", "bases"):
            continue
        # The annotation of a port or of a field is its width; that of a variable or an argument says nothing.
        if name == "annotation" and not (isinstance(node, ast.AnnAssign) and isinstance(value, ast.Call)):
            continue
        if isinstance(node, ast.keyword) and node.arg == "reset_less":
            continue  # a register that has a reset computes the same
        values = value if isinstance(value, list) else [value]
        yield from (each for each in values if isinstance(each, ast.AST))


def _shape(node: ast.AST) -> Iterator[ast.AST]:
    """All parts of the shape that a signal, or a port, is made with."""
    if (
        isinstance(node, ast.Call)
        and node.args
        and _name(node) in ("Signal", "In", "Out", "signed", "unsigned")
    ):
        yield from ast.walk(node.args[0])


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _copy(node: ast.AST, **fields) -> ast.AST:
    return type(node)(**{**dict(ast.iter_fields(node)), **fields})


def _changes(node: ast.AST, names: set[str]) -> Iterator[tuple[str, ast.AST]]:
    """(kind, what stands there afterwards) of a node."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in COMPARISONS:
            yield "compare", _copy(node, ops=[COMPARISONS[type(operator)]()])
        case ast.BinOp(left=left, op=operator, right=right):
            if type(operator) in OPERATORS:
                yield "operator", _copy(node, op=OPERATORS[type(operator)]())
            if isinstance(operator, ast.Sub | ast.LShift | ast.RShift):
                yield "operands", _copy(node, left=right, right=left)
        case ast.BoolOp(op=operator):
            yield "boolean", _copy(node, op=ast.Or() if isinstance(operator, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not() | ast.Invert() | ast.USub(), operand=operand):
            yield "boolean" if not isinstance(node.op, ast.USub) else "sign", operand
        case ast.Constant(value=bool(value)):
            yield "boolean", ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield "number", ast.Constant(value + 1)
            if value > 0:
                yield "number", ast.Constant(value - 1)
        case ast.Subscript(slice=ast.Slice(lower=lower, upper=upper)):
            for name, bound in (("lower", lower), ("upper", upper)):
                if bound is not None and not isinstance(bound, ast.Constant):
                    changed = ast.BinOp(bound, ast.Add() if name == "lower" else ast.Sub(), ast.Constant(1))
                    yield "slice", _copy(node, slice=_copy(node.slice, **{name: changed}))
        case ast.AugAssign(target=target):
            yield from _augmented(node, ast.unparse(target))
        case ast.Expr(value=ast.Call()) | ast.Continue() | ast.Break():
            yield "statement", ast.Pass()
        case ast.IfExp():
            yield "condition", _copy(node, body=node.orelse, orelse=node.body)
        case ast.Call():
            yield from _calls(node)
    yield from _twins(node, names)


def _augmented(node: ast.AugAssign, target: str) -> Iterator[tuple[str, ast.AST]]:
    """Registers that are left out or put in, and statements that are missing."""
    yield "statement", ast.Pass()
    if _DOMAIN.fullmatch(target):
        other = "comb" if target.endswith("sync") else "sync"
        yield "register", _copy(node, target=_copy(node.target, attr=other))
        if isinstance(node.value, ast.List) and len(node.value.elts) > 1:
            for each in node.value.elts:
                rest = [other for other in node.value.elts if other is not each]
                yield "statement", _copy(node, value=ast.List(rest, ast.Load()))
    elif type(node.op) in OPERATORS:
        yield "operator", _copy(node, op=OPERATORS[type(node.op)]())


def _calls(node: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    """Operands that are swapped, resets, and conditions of hardware."""
    name, arguments = _name(node), node.args
    if name == "Mux" and len(arguments) == 3:
        yield "operands", _copy(node, args=[arguments[0], arguments[2], arguments[1]])
    if name == "Cat" and len(arguments) > 1 and not isinstance(arguments[0], ast.Starred):
        yield "operands", _copy(node, args=[arguments[1], arguments[0], *arguments[2:]])
    if name == "Signal" and not any(key.arg in ("init", "reset_less") for key in node.keywords):
        yield "reset", _copy(node, keywords=[*node.keywords, ast.keyword("init", ast.Constant(1))])
    if name in ("If", "Elif") and len(arguments) == 1:
        yield "condition", _copy(node, args=[ast.Compare(arguments[0], [ast.Eq()], [ast.Constant(0)])])
    if name in ("range", "islice") and len(arguments) == 1 and not isinstance(arguments[0], ast.Constant):
        yield "number", _copy(node, args=[ast.BinOp(arguments[0], ast.Sub(), ast.Constant(1))])


def _twins(node: ast.AST, names: set[str]) -> Iterator[tuple[str, ast.AST]]:
    """The name that is easily mistaken for this one, where the file uses both."""
    field = "attr" if isinstance(node, ast.Attribute) else "id" if isinstance(node, ast.Name) else None
    if field is None or not isinstance(node.ctx, ast.Load):
        return
    own = getattr(node, field)
    for kind, pairs in TWINS.items():
        for one, other in (pair.split() for pair in pairs):
            twin = {one: other, other: one}.get(own)
            if twin and (twin in names or kind in ("sign", "limit")):
                yield kind, _copy(node, **{field: twin})
