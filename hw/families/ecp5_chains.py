"""The carry chains of an ECP5's netlist, several in a row of cells.

nextpnr gives every chain two cells more: one before it, for the first carry, and one behind it, for the last
one even where nobody reads that. With some 800 chains of yosys these are a tenth of a machine's LUT4.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from itertools import product
from typing import Any

from haarlequin.hw.families.carry import LONGEST
from haarlequin.hw.families.ecp5_netlist import ONE, ZERO, Bit, Netlist

_PINS = "ABCD"
_UNUSED = (ONE,) * 4
"""Inputs that are not needed: a 1 takes no wire."""

_COMBINATIONAL = {"LUT4": "ABCD", "PFUMX": ("ALUT", "BLUT", "C0"), "L6MUX21": ("D0", "D1", "SD")}
"""Cells whose output follows these inputs at once, beside the carries; a distributed RAM's its address."""
_COMBINATIONAL["TRELLIS_DPR16X4"] = ("RAD",)


@dataclass(frozen=True)
class Half:
    """Half of a CCU2C: its table, its inputs A, B, C and D, and the net of its sum, if there is one.

    The sum is the table's entry for the inputs, xor the carry. The carry goes on where that entry is 1. Where
    it is 0, the next carry is the entry for A, B and C = D = 0 (FPGA-TN-02201).
    """

    init: int
    inputs: tuple[Bit, ...] = _UNUSED
    total: Bit | None = None

    def entry(self, a: int, b: int, c: int, d: int) -> int:
        """The entry of the table for these inputs."""
        return self.init >> (a | b << 1 | c << 2 | d << 3) & 1

    @property
    def values(self) -> list[tuple[int, ...]]:
        """What each input can be."""
        return [(int(bit),) if bit in (ZERO, ONE) else (0, 1) for bit in self.inputs]

    @property
    def onward(self) -> set[int]:
        """Whether the carry goes on, in all that the inputs can be."""
        return {self.entry(*inputs) for inputs in product(*self.values)}


def _begins(carry: Bit, hands_out: Bit | None) -> Half:
    """A half cell that begins with this carry, and drives a net with the one before."""
    if carry in (ZERO, ONE):
        return Half(0xF if carry == ONE else 0, _UNUSED, hands_out)
    return Half(0b1010, (carry, *_UNUSED[1:]), hands_out)


def _first(half: Half, carry: Bit) -> Half | None:
    """A half cell without a sum that makes the next carry of a chain's first one and of a constant, whatever
    comes before it.

    It has to do so with A and B alone; None where C or D matter.
    """
    in_a, in_b, *others = half.values
    table = [0] * 4
    for a, b in product((0, 1), repeat=2):
        # A constant becomes a 1, which takes no wire.
        here = [some[0] if len(some) == 1 else value for some, value in ((in_a, a), (in_b, b))]
        onward = {half.entry(*here, *rest) for rest in product(*others)}
        if len(onward) == 2:
            return None
        table[a | b << 1] = int(carry == ONE) if onward == {1} else half.entry(*here, 0, 0)
    inputs = [ONE if bit in (ZERO, ONE) else bit for bit in half.inputs[:2]]
    return Half(sum(entry << i for i, entry in enumerate(table)), (*inputs, ONE, ONE))


@dataclass
class _Chain:
    """A chain: the names of its cells, its half cells, and the nets of its first and last carry."""

    cells: list[str]
    halves: list[Half]
    first: Bit
    last: Bit | None
    level: int = field(default=-1)
    """Chains that its inputs come through, one after the other, out of registers."""

    @property
    def place(self) -> tuple[str, int, list[str | int]]:
        """Where it is: those with the same module and level may follow each other."""
        name = self.cells[0]
        numbers = [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
        return name.rpartition(".")[0], self.level, numbers

    def tidy(self, netlist: Netlist) -> None:
        """Leave half cells out that compute nothing: nextpnr's own ones begin and hand out the carry."""
        if not (self.last is not None and netlist.readers[self.last]):
            self.last = None
            while self.halves and self.halves[-1].total is None:
                self.halves.pop()
            if self.halves and self.halves[-1].onward == {0}:
                self.last = self.halves.pop().total
        if self.halves and self.halves[0].total is None:
            begins = _first(self.halves[0], ZERO) if self.halves[0].onward == {0} else None
            if begins and begins.inputs == _UNUSED:
                self.first = ONE if begins.init >> 3 & 1 else ZERO
                self.halves.pop(0)

    def joins(self, before: Bit | None) -> list[Half]:
        """The half cells with which it follows another chain, whose last carry goes to the net ``before``."""
        if self.first in (ZERO, ONE) and before is None and self.halves and self.halves[0].total is None:
            first = _first(self.halves[0], self.first)
            if first:
                return [first, *self.halves[1:]]
        return [_begins(self.first, before), *self.halves]


def join(module: dict[str, Any]) -> int:
    """Put the carry chains of a module of yosys' JSON one behind the other, where they are near each other
    and none's inputs need another's sums. Returns how many LUT4 fewer nextpnr will take.

    A half cell between two chains hands out the last carry of one, and begins the next. A row has up to
    `carry.LONGEST` half cells.
    """
    netlist = Netlist(module)
    nets = _fresh(module)
    chains = _chains(netlist)
    before = sum(2 * len(chain.cells) + 4 for chain in chains)
    _set_levels(netlist, chains)
    near = defaultdict(list)
    for chain in chains:
        chain.tidy(netlist)
        *place, _ = chain.place
        near[tuple(place)].append(chain)
    after = 0
    for some in near.values():
        for row in _rows(sorted(some, key=lambda chain: chain.place)):
            after += _write(netlist, row, nets)
    return before - after


def _fresh(module: dict[str, Any]) -> Iterator[int]:
    """Numbers that no net has."""
    bits = [bit for cell in module["cells"].values() for each in cell["connections"].values() for bit in each]
    bits += [
        bit for named in (*module["ports"].values(), *module["netnames"].values()) for bit in named["bits"]
    ]
    number = max((bit for bit in bits if isinstance(bit, int)), default=1)
    while True:
        number += 1
        yield number


def _chains(netlist: Netlist) -> list[_Chain]:
    """All chains. One ends where its carry is read elsewhere, too."""
    cells = {name: cell for name, cell in netlist.cells.items() if cell["type"] == "CCU2C"}
    behind = {}
    for name, cell in cells.items():
        (carry,) = cell["connections"].get("CIN", [ZERO])
        if netlist.drivers.get(carry) in cells and netlist.readers[carry].total() == 1:
            behind[netlist.drivers[carry]] = name
    chains = []
    for name in sorted(cells.keys() - behind.values()):
        names = [name]
        while names[-1] in behind:
            names.append(behind[names[-1]])
        halves = [_half(netlist, cells[each], place) for each in names for place in (0, 1)]
        (first,) = cells[names[0]]["connections"].get("CIN", [ZERO])
        (last,) = cells[names[-1]]["connections"].get("COUT", [None])
        chains.append(_Chain(names, halves, ZERO if first == "x" else first, last))
    return chains


def _half(netlist: Netlist, cell: dict[str, Any], place: int) -> Half:
    pins = cell["connections"]
    if cell["parameters"][f"INJECT1_{place}"] != "NO":
        raise ValueError("a carry cell with an injected carry: nothing here makes one")
    inputs = tuple(pins[f"{pin}{place}"][0] for pin in _PINS)
    (total,) = pins.get(f"S{place}", [None])
    read = total is not None and netlist.readers[total]
    return Half(int(cell["parameters"][f"INIT{place}"], 2), inputs, total if read else None)


def _set_levels(netlist: Netlist, chains: list[_Chain]) -> None:
    """Find the `_Chain.level` of chains: those of one level do not need each other's sums, nor do rows of
    such chains.
    """
    node = {name: chain.cells[0] for chain in chains for name in chain.cells}
    needs: dict[str, set[str]] = {chain.cells[0]: set() for chain in chains}
    for name, cell in netlist.cells.items():
        if name in node:
            pins = [pin for pin in cell["connections"] if pin[0] in _PINS and pin[1] in "01"]
        elif cell["type"] in _COMBINATIONAL:
            pins = _COMBINATIONAL[cell["type"]]
        else:
            continue
        drivers = {netlist.drivers.get(bit) for pin in pins for bit in cell["connections"].get(pin, [])}
        needs.setdefault(node.get(name, name), set()).update(node.get(each, each) for each in drivers)
    for chain in chains:
        driver = netlist.drivers.get(chain.first)
        needs[chain.cells[0]].add(node.get(driver, driver))
    level = dict.fromkeys(needs, 0)
    firsts = set(node.values())
    for name in TopologicalSorter({each: some & needs.keys() for each, some in needs.items()}).static_order():
        some = needs[name] & needs.keys()
        level[name] = max((level[each] + (each in firsts) for each in some), default=0)
    for chain in chains:
        chain.level = level[chain.cells[0]]


def _rows(chains: list[_Chain]) -> Iterator[list[_Chain]]:
    """Which of some chains follow each other, in this order: as many as a row has room for."""
    row: list[_Chain] = []
    length = 0
    for chain in chains:
        if row and length + 1 + len(chain.halves) > LONGEST:
            yield row
            row, length = [], 0
        row.append(chain)
        length += len(chain.halves) + 1
    yield row


def _write(netlist: Netlist, row: list[_Chain], nets: Iterator[int]) -> int:
    """Make the cells of a row, under the names of its first ones; returns the LUT4 that it takes."""
    halves, before = list(row[0].halves), row[0].last
    for chain in row[1:]:
        halves += chain.joins(before)
        before = chain.last
    models = {name: netlist.cells.pop(name) for chain in row for name in chain.cells}
    if not halves and before is None:
        return 0
    if len(halves) % 2 or not halves:  # the carry leaves by the half cell that is left over
        halves.append(Half(0, _UNUSED, before))
        before = None
    if len(halves) % 2:
        halves.append(Half(0))
    pairs = list(zip(halves[::2], halves[1::2], strict=True))
    names, carry = [*models], row[0].first
    for number, pair in enumerate(pairs):
        name = names[number] if number < len(names) else f"{names[-1]}_{number}"
        pins: dict[str, list[Bit]] = {"CIN": [carry]}
        # nextpnr asks for both pins of a carry.
        carry = next(nets) if number < len(pairs) - 1 or before is None else before
        pins["COUT"] = [carry]
        parameters = {f"INJECT1_{place}": "NO" for place in (0, 1)}
        for place, half in enumerate(pair):
            parameters[f"INIT{place}"] = f"{half.init:016b}"
            pins |= {f"{pin}{place}": [bit] for pin, bit in zip(_PINS, half.inputs, strict=True)}
            if half.total is not None:
                pins[f"S{place}"] = [half.total]
        netlist.cells[name] = {
            **models.get(name, models[names[-1]]),
            "parameters": parameters,
            "port_directions": {pin: "output" if pin[0] == "S" or pin == "COUT" else "input" for pin in pins},
            "connections": pins,
        }
    return 2 * len(pairs) + 4
