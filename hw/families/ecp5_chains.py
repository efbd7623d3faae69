"""The ends of the carry chains of an ECP5's netlist, within cells that the chains have anyway.

nextpnr gives every chain that yosys makes two cells more: one before it, for a carry that is a constant or
comes from elsewhere, and one behind it, for a last carry even where nobody reads that. With some 800 chains
of six cells these are a tenth of a machine's LUT4.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from haarlequin.hw.families.ecp5_netlist import ONE, ZERO, Bit, Netlist

_PINS = "ABCD"
_UNUSED = (ONE,) * 4
"""Inputs that are not needed: a 1 takes no wire."""


@dataclass(frozen=True)
class Half:
    """Half of a CCU2C: its table, its inputs A, B, C and D, and the net of its sum, if there is one.

    The sum is the table's entry for the inputs, xor the carry. The carry goes on where that entry is 1. Where
    it is 0, the next carry is the entry for A, B and C = D = 0 (FPGA-TN-02201).
    """

    init: int
    inputs: tuple[Bit, ...]
    total: Bit | None = None

    def propagates(self, a: int, b: int, c: int, d: int) -> int:
        """The entry of the table for these inputs."""
        return self.init >> (a | b << 1 | c << 2 | d << 3) & 1

    def generates(self, a: int, b: int) -> int:
        """The next carry, where the one before does not go on."""
        return self.init >> (a | b << 1) & 1


def _constant(carry: Bit) -> Half:
    """A half cell that begins with a carry of 0 or 1, whatever comes before it."""
    return Half(0xF if carry == ONE else 0, _UNUSED)


def _taken(carry: Bit) -> Half:
    """A half cell that begins with the value of a net as the carry."""
    return Half(0b1010, (carry, *_UNUSED[1:]))


def _hands_out(carry: Bit) -> Half:
    """A half cell that drives a net with the carry."""
    return Half(0, _UNUSED, carry)


def _beginning(half: Half, carry: Bit) -> Half | None:
    """A half cell without a sum that makes the next carry of a chain's first one and of a constant.

    It has to do so with A and B alone; None where C or D matter.
    """
    values = [(int(bit),) if bit in (ZERO, ONE) else (0, 1) for bit in half.inputs]
    table = [0] * 4
    for a, b in product((0, 1), repeat=2):
        # A constant becomes a 1, which takes no wire.
        here = tuple(
            some if len(some) == 1 else (value,) for some, value in zip(values, (a, b), strict=False)
        )
        (a_here,), (b_here,) = here
        onward = {half.propagates(a_here, b_here, c, d) for c, d in product(*values[2:])}
        if len(onward) == 2:
            return None
        table[a | b << 1] = int(carry == ONE) if onward == {1} else half.generates(a_here, b_here)
    inputs = tuple(ONE if bit in (ZERO, ONE) else bit for bit in half.inputs[:2])
    return Half(sum(entry << i for i, entry in enumerate(table)), (*inputs, ONE, ONE))


def shorten(module: dict[str, Any]) -> int:
    """Rebuild the carry chains of a module of yosys' JSON, so that nextpnr adds no cell to them. Returns how
    many LUT4 fewer it will take.

    A half cell at the beginning makes the first carry, and one at the end hands out the last one where it is
    read; half cells behind it that compute nothing go. Where an even number is left, the first one of a
    constant carry makes the second carry, and its own sum becomes a LUT4.
    """
    netlist = Netlist(module)
    nets = _fresh(module)
    return sum(_rebuild(netlist, chain, nets) for chain in _chains(netlist))


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


def _chains(netlist: Netlist) -> list[list[str]]:
    """The names of the cells of each chain, in order. One ends where its carry is read elsewhere, too."""
    cells = {name: cell for name, cell in netlist.cells.items() if cell["type"] == "CCU2C"}
    behind = {}
    for name, cell in cells.items():
        (carry,) = cell["connections"].get("CIN", [ZERO])
        if netlist.drivers.get(carry) in cells and netlist.readers[carry].total() == 1:
            behind[netlist.drivers[carry]] = name
    chains = []
    for name in cells.keys() - behind.values():
        chain = [name]
        while chain[-1] in behind:
            chain.append(behind[chain[-1]])
        chains.append(chain)
    return sorted(chains)


def _rebuild(netlist: Netlist, chain: list[str], nets: Iterator[int]) -> int:
    """Rebuild one chain, under the names of its cells; returns the LUT4 that this saves."""
    cells = [netlist.cells[name] for name in chain]
    parameters = [cell["parameters"] for cell in cells]
    if any(each[f"INJECT1_{place}"] != "NO" for each in parameters for place in (0, 1)):
        return 0
    halves = [_half(netlist, cell, place) for cell in cells for place in (0, 1)]
    (first,) = cells[0]["connections"].get("CIN", [None])
    (last,) = cells[-1]["connections"].get("COUT", [None])
    before = 2 * len(cells) + 2 * (first is not None) + 2 * (last is not None)
    if last is not None and netlist.readers[last]:
        halves.append(_hands_out(last))
    while halves and halves[-1].total is None:
        halves.pop()
    alone = None
    if first is not None and halves:
        constant = first in (ZERO, ONE)
        beginning = _beginning(halves[0], first) if constant else None
        if beginning and (halves[0].total is None or len(halves) % 2 == 0):
            if halves[0].total is not None:
                alone = _sum(halves[0], first, cells[0]["attributes"])
            halves[0] = beginning
        else:
            halves.insert(0, _constant(first) if constant else _taken(first))
    _write(netlist, chain, halves, nets)
    if alone:
        netlist.cells[f"{chain[0]}_first"] = alone
    return before - len(halves) - len(halves) % 2 - bool(alone)


def _half(netlist: Netlist, cell: dict[str, Any], place: int) -> Half:
    pins = cell["connections"]
    inputs = tuple(pins[f"{pin}{place}"][0] for pin in _PINS)
    (total,) = pins.get(f"S{place}", [None])
    read = total is not None and netlist.readers[total]
    return Half(int(cell["parameters"][f"INIT{place}"], 2), inputs, total if read else None)


def _sum(half: Half, carry: Bit, attributes: dict[str, str]) -> dict[str, Any]:
    """The sum of a chain's first half cell and a constant carry as a LUT4."""
    init = half.init ^ (0xFFFF if carry == ONE else 0)
    pins = {pin: [bit] for pin, bit in zip(_PINS, half.inputs, strict=True)} | {"Z": [half.total]}
    return {
        "hide_name": 0,
        "type": "LUT4",
        "parameters": {"INIT": f"{init:016b}"},
        "attributes": attributes,
        "port_directions": {pin: "output" if pin == "Z" else "input" for pin in pins},
        "connections": pins,
    }


def _write(netlist: Netlist, chain: list[str], halves: list[Half], nets: Iterator[int]) -> None:
    """Make the cells of a chain: as many as before, fewer, or one more."""
    model = netlist.cells[chain[0]]
    attributes = [netlist.cells.pop(name)["attributes"] for name in chain]
    if len(halves) % 2:
        halves.append(Half(0, _UNUSED))
    pairs = list(zip(halves[::2], halves[1::2], strict=True))
    names = [*chain, f"{chain[-1]}_last"][: len(pairs)]
    carry = None
    for number, (name, pair) in enumerate(zip(names, pairs, strict=True)):
        pins: dict[str, list[Bit]] = {}
        parameters = {f"INJECT1_{place}": "NO" for place in (0, 1)}
        for place, half in enumerate(pair):
            parameters[f"INIT{place}"] = f"{half.init:016b}"
            pins |= {f"{pin}{place}": [bit] for pin, bit in zip(_PINS, half.inputs, strict=True)}
            if half.total is not None:
                pins[f"S{place}"] = [half.total]
        if carry is not None:
            pins["CIN"] = [carry]
        carry = next(nets) if number < len(pairs) - 1 else None
        if carry is not None:
            pins["COUT"] = [carry]
        netlist.cells[name] = {
            **model,
            "parameters": parameters,
            "attributes": attributes[min(number, len(attributes) - 1)],
            "port_directions": {pin: "output" if pin[0] == "S" or pin == "COUT" else "input" for pin in pins},
            "connections": pins,
        }
