"""Registers beside block RAMs and multipliers of an ECP5's netlist move into these, which have their own.

yosys 0.70 leaves them unused. Without them a word takes 5.8 ns out of a block RAM, and a product waits in the
same cycle for the wires of its factors and for its own.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Bit = int | str
"""A net of the netlist by its number, or a constant."""

_ZERO, _ONE = "0", "1"
_WIDE = 36
"""Bits of a word that comes out of both ports of a block RAM."""


@dataclass(frozen=True)
class _Register:
    """A flip-flop: the name of its cell, the nets of its input and output, and those that control it."""

    cell: str
    data: Bit
    output: Bit
    clock: Bit
    enable: Bit


class _Netlist:
    """The cells of a module, by name, and what is at the ends of its nets."""

    def __init__(self, module: dict[str, Any]):
        self.cells = module["cells"]
        self.drivers: dict[Bit, str] = {}
        self.readers: dict[Bit, Counter[str]] = defaultdict(Counter)
        """The cells that read a net, and with how many pins; "" are the pins of the module."""
        for name, cell in self.cells.items():
            for pin, (*bits,) in cell["connections"].items():
                drives = cell["port_directions"][pin] != "input"
                for bit in bits:
                    if drives:
                        self.drivers[bit] = name
                    else:
                        self.readers[bit][name] += 1
        for port in module["ports"].values():
            for bit in port["bits"]:
                self.readers[bit][""] += 1

    def register(self, name: str) -> _Register | None:
        """The flip-flop of this name, if there is one without reset that begins with 0 and need not stay."""
        cell = self.cells.get(name)
        if not cell or cell["type"] != "TRELLIS_FF" or int(cell["attributes"].get("keep", _ZERO), 2):
            return None
        pins, parameters = cell["connections"], cell["parameters"]
        enabled = parameters["CEMUX"].strip()
        common = {"CLKMUX": "CLK", "REGSET": "RESET"}
        plain = all(parameters[name] == value for name, value in common.items())
        if not (plain and enabled in ("CE", _ONE) and pins["LSR"] == [_ZERO]):
            return None
        enable = pins["CE"][0] if enabled == "CE" else _ONE
        return _Register(name, pins["DI"][0], pins["Q"][0], pins["CLK"][0], enable)

    def after(self, bits: Iterable[Bit]) -> list[_Register]:
        """The registers that alone read these nets, as far as they are read; none if they cannot move."""
        found = []
        for bit in bits:
            if readers := self.readers[bit]:
                register = self.register(next(iter(readers))) if readers.total() == 1 else None
                if register is None or register.data != bit:
                    return []
                found.append(register)
        return found if _together(found) else []

    def before(self, cell: str, bits: Iterable[Bit]) -> list[_Register]:
        """The registers that drive these nets of a cell; none if they cannot move, or most drive more."""
        nets = {bit for bit in bits if bit != _ZERO}
        found = [register for bit in nets if (register := self.register(self.drivers.get(bit, "")))]
        alone = [register for register in found if self.readers[register.output].keys() == {cell}]
        return found if len(found) == len(nets) and _together(found) and 2 * len(alone) > len(found) else []

    def connect(self, cell: str, pin: str, bit: Bit, drives: bool) -> None:
        """Connect a pin of a cell to a net, and to nothing else."""
        (old,) = self.cells[cell]["connections"].get(pin, [_ZERO])
        self.cells[cell]["connections"][pin] = [bit]
        self.cells[cell]["port_directions"][pin] = "output" if drives else "input"
        if drives:
            self.drivers[bit] = cell
        else:
            self.readers[old] -= Counter([cell])
            self.readers[bit][cell] += 1

    def remove(self, register: _Register) -> None:
        """Remove a flip-flop."""
        for (bit,) in self.cells.pop(register.cell)["connections"].values():
            self.readers[bit].pop(register.cell, None)


def _together(registers: list[_Register]) -> bool:
    """Whether all of them have the same clock and the same enable."""
    return len({(register.clock, register.enable) for register in registers}) == 1


def absorb(module: dict[str, Any]) -> None:
    """Move registers without a reset into the block RAMs and multipliers of a module of yosys' JSON.

    A multiplier's factors move both or not at all: nextpnr has no timing for one of them.
    """
    netlist = _Netlist(module)
    for name, cell in list(netlist.cells.items()):
        if cell["type"] == "MULT18X18D":
            _multiplier(netlist, name)
        elif cell["type"] == "DP16KD":
            _block_ram(netlist, name)


def _multiplier(netlist: _Netlist, name: str) -> None:
    pins, parameters = (netlist.cells[name][part] for part in ("connections", "parameters"))
    enables = list[Bit]()

    def controlled(which: str, register: _Register) -> None:
        if register.enable not in enables:
            enables.append(register.enable)
            netlist.connect(name, f"CE{len(enables) - 1}", register.enable, drives=False)
            netlist.connect(name, f"RST{len(enables) - 1}", _ZERO, drives=False)
        number = enables.index(register.enable)
        netlist.connect(name, "CLK0", register.clock, drives=False)
        parameters[f"REG_{which}_CLK"] = "CLK0"
        parameters[f"REG_{which}_CE"], parameters[f"REG_{which}_RST"] = f"CE{number}", f"RST{number}"

    sides = {side: [f"{side}{place}" for place in range(18)] for side in "AB"}
    factors = {side: netlist.before(name, (pins[pin][0] for pin in which)) for side, which in sides.items()}
    products = [pin for place in range(_WIDE) if (pin := f"P{place}") in pins]
    results = netlist.after(pins[pin][0] for pin in products)
    clocks = {register.clock for some in (*factors.values(), results) for register in some}
    if len(clocks) != 1:
        return
    if all(factors.values()):
        for side, registers in factors.items():
            by_output = {register.output: register for register in registers}
            for pin in sides[side]:
                if register := by_output.get(pins[pin][0]):
                    netlist.connect(name, pin, register.data, drives=False)
            controlled(f"INPUT{side}", registers[0])
            for register in registers:
                if not +netlist.readers[register.output]:
                    netlist.remove(register)
    if results:
        by_data = {register.data: register for register in results}
        for pin in products:
            if register := by_data.get(pins[pin][0]):
                netlist.connect(name, pin, register.output, drives=True)
        controlled("OUTPUT", results[0])
        for register in results:
            netlist.remove(register)
    if enables:
        parameters["GSR"] = "DISABLED"


def _block_ram(netlist: _Netlist, name: str) -> None:
    pins, parameters = (netlist.cells[name][part] for part in ("connections", "parameters"))
    widths = {side: int(parameters[f"DATA_WIDTH_{side}"], 2) for side in "AB"}
    # A word of 36 bits is read at both sides, by port B.
    for sides in ("AB",) if _WIDE in widths.values() else ("A", "B"):
        outputs = [pin for pin in pins if pin[:-1].rstrip("0123456789")[:2] == "DO" and pin[2] in sides]
        registers = netlist.after(pins[pin][0] for pin in outputs)
        controls = {(pins[f"CLK{side}"][0], pins.get(f"RST{side}", [_ZERO])[0]) for side in sides}
        inverted = any(parameters.get(f"CLK{side}MUX") == "INV" for side in sides)
        if not registers or inverted or controls != {(registers[0].clock, _ZERO)}:
            continue
        by_data = {register.data: register for register in registers}
        for pin in outputs:
            if register := by_data.get(pins[pin][0]):
                netlist.connect(name, pin, register.output, drives=True)
        for side in sides:
            parameters[f"REGMODE_{side}"] = "OUTREG"
            netlist.connect(name, f"OCE{side}", registers[0].enable, drives=False)
        for register in registers:
            netlist.remove(register)
