"""The places where a file can be broken: each kind, and none where nothing would change."""

import ast

import pytest

from tests.mutation.folders import DRAWN, LEFT_OUT, OTHERS, PARTS, ROOT, benches, drawn, files, folder_of
from tests.mutation.mutants import mutants
from tests.mutation.results import equivalents

BLOCK = '''"""A block."""
class Block(wiring.Component):
    """Counts 3 things."""

    x: In(signed(8))

    def __init__(self, lanes: int = 4):
        if lanes < 1 or not lanes:
            raise ValueError(f"lanes must be 1 or more, not {lanes + 1}")

    def elaborate(self, platform):
        m = Module()
        count, last = Signal(range(12)), Signal(4, reset_less=True)
        with m.If(self.first):
            m.d.sync += [count.eq(Mux(last, bank_a, bank_b)), last.eq(count - 1)]
        m.d.comb += self.y.eq(~self.x[: self.lanes].as_signed() << 2)
        return m
'''


def changes(source):
    return [str(mutant) for mutant in mutants(source)]


@pytest.mark.parametrize(
    "mutant",
    [
        "compare: lanes < 1 → (lanes <= 1)",
        "boolean: lanes < 1 or not lanes → (lanes < 1 and (not lanes))",
        "boolean: not lanes → lanes",
        "number: 4 → 5",
        "reset: Signal(range(12)) → Signal(range(12), init=1)",
        "edge: self.first → self.last",
        "condition: m.If(self.first) → m.If(self.first == 0)",
        "operands: Mux(last, bank_a, bank_b) → Mux(last, bank_b, bank_a)",
        "bank: bank_a → bank_b",
        "operator: count - 1 → (count + 1)",
        "operands: count - 1 → (1 - count)",
        "boolean: ~self.x[: self.lanes].as_signed() → self.x[:self.lanes].as_signed()",
        "slice: self.x[: self.lanes] → (self.x[:self.lanes - 1])",
        "sign: self.x[: self.lanes].as_signed → self.x[:self.lanes].as_unsigned",
        "sign: signed → unsigned",
        "number: 8 → 7",
    ],
)
def test_each_kind_is_made(mutant):
    assert mutant in changes(BLOCK)


def test_registers_and_statements():
    found = [mutant for mutant in changes(BLOCK) if mutant.startswith(("register", "statement"))]
    one = "m.d.sync += [count.eq(Mux(last, bank_a, bank_b)), last.eq(count - 1)]"
    other = "m.d.comb += self.y.eq(~self.x[: self.lanes].as_signed() << 2)"
    assert found == [
        f"register: {one} → {one.replace('sync', 'comb')}",
        f"statement: {one} → m.d.sync += [count.eq(Mux(last, bank_a, bank_b))]",
        f"statement: {one} → m.d.sync += [last.eq(count - 1)]",
        f"statement: {one} → pass",
        f"register: {other} → m.d.sync += self.y.eq(~self.x[:self.lanes].as_signed() << 2)",
        f"statement: {other} → pass",
    ]


def test_places_that_read_alike_are_numbered():
    assert changes("x = Signal(), Signal()\n") == [
        "reset: Signal() → Signal(init=1)",
        "reset: Signal() → Signal(init=1) (number 2)",
    ]


def test_what_decides_nothing_is_left_alone():
    """Docstrings, messages, types of Python, and registers that are wider than they need be."""
    broken = [mutant.apply(BLOCK) for mutant in mutants(BLOCK)]
    assert all('"""Counts 3 things."""' in text and "not {lanes + 1}" in text for text in broken)
    assert all("lanes: int" in text and "reset_less=True" in text for text in broken)
    assert not {"number: 8 → 9", "number: 12 → 13"} & {*changes(BLOCK)}


@pytest.mark.slow
def test_a_mutant_differs_in_its_place_and_can_be_read():
    for path in files():
        source = (ROOT / path).read_text(encoding="utf-8")
        whole = ast.dump(ast.parse(source))
        for mutant in mutants(source)[::40]:
            text = mutant.apply(source)
            assert ast.dump(ast.parse(text)) != whole, f"{path}: {mutant}"
            assert text.startswith(source.encode()[: mutant.start].decode())


@pytest.mark.slow
def test_every_file_is_broken_and_the_same_seed_draws_the_same():
    once, again = list(drawn(1)), list(drawn(1))
    assert once == again != list(drawn(2))
    counts = {}
    for path, _ in once:
        counts[folder_of(path)] = counts.get(folder_of(path), 0) + 1
    assert {path for path, _ in once} == {path for path in files() if mutants((ROOT / path).read_text())}
    assert all(count == DRAWN.get(folder, OTHERS) for folder, count in counts.items())
    assert sum(counts.values()) >= 600
    assert all(counts[folder] >= 100 for folder in ("hw/lanes", "hw/link", "sw/compiler", "sw/devices"))


@pytest.mark.slow
def test_a_file_that_is_added_leaves_the_draw_of_others(monkeypatch):
    before = [path for path in files() if path != "hw/lanes/hamming.py"]
    monkeypatch.setattr("tests.mutation.folders.files", lambda: before)
    without = {*drawn(1)}
    monkeypatch.undo()
    added = {path for path, _ in {*drawn(1)} - without}
    assert added == {"hw/lanes/hamming.py"}


def test_every_block_takes_part_unless_it_is_said_why():
    """A new folder of blocks needs no change here."""
    every = {path.relative_to(ROOT).as_posix() for part in PARTS for path in (ROOT / part).rglob("*.py")}
    left_out = every - {*files()}
    assert {next(each for each in LEFT_OUT if path.startswith(each)) for path in left_out} == LEFT_OUT.keys()
    for path in files():
        assert all((ROOT / bench[0]).exists() for bench in benches(path)), path


def test_equivalent_mutants_are_still_there():
    """Each entry names a mutant of its file, and says why no test can notice it."""
    for (path, mutant), reason in equivalents().items():
        assert mutant in changes((ROOT / path).read_text(encoding="utf-8")), f"{path}: {mutant}"
        assert len(reason.split()) > 3
