"""The netlist of an ECP5, as yosys writes it in JSON: its cells, and what is at the ends of its nets."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Bit = int | str
"""A net of the netlist by its number, or a constant."""

ZERO, ONE = "0", "1"


@dataclass(frozen=True)
class Register:
    """A flip-flop: the name of its cell, the nets of its input and output, and those that control it."""

    cell: str
    data: Bit
    output: Bit
    clock: Bit
    enable: Bit


class Netlist:
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

    def register(self, name: str) -> Register | None:
        """The flip-flop of this name, if there is one without reset that begins with 0 and need not stay."""
        cell = self.cells.get(name)
        if not cell or cell["type"] != "TRELLIS_FF" or int(cell["attributes"].get("keep", ZERO), 2):
            return None
        pins, parameters = cell["connections"], cell["parameters"]
        enabled = parameters["CEMUX"].strip()
        common = {"CLKMUX": "CLK", "REGSET": "RESET"}
        plain = all(parameters[name] == value for name, value in common.items())
        if not (plain and enabled in ("CE", ONE) and pins["LSR"] == [ZERO]):
            return None
        enable = pins["CE"][0] if enabled == "CE" else ONE
        return Register(name, pins["DI"][0], pins["Q"][0], pins["CLK"][0], enable)

    def after(self, bits: Iterable[Bit]) -> list[Register]:
        """The registers that alone read these nets, as far as they are read; none if they cannot move."""
        found = []
        for bit in bits:
            if readers := self.readers[bit]:
                register = self.register(next(iter(readers))) if readers.total() == 1 else None
                if register is None or register.data != bit:
                    return []
                found.append(register)
        return found if together(found) else []

    def before(self, cell: str, bits: Iterable[Bit]) -> list[Register]:
        """The registers that drive these nets of a cell; none if they cannot move, or most drive more."""
        nets = {bit for bit in bits if bit != ZERO}
        found = [register for bit in nets if (register := self.register(self.drivers.get(bit, "")))]
        alone = [register for register in found if self.readers[register.output].keys() == {cell}]
        return found if len(found) == len(nets) and together(found) and 2 * len(alone) > len(found) else []

    def connect(self, cell: str, pin: str, bit: Bit, drives: bool) -> None:
        """Connect a pin of a cell to a net, and to nothing else."""
        (old,) = self.cells[cell]["connections"].get(pin, [ZERO])
        self.cells[cell]["connections"][pin] = [bit]
        self.cells[cell]["port_directions"][pin] = "output" if drives else "input"
        if drives:
            self.drivers[bit] = cell
        else:
            self.readers[old] -= Counter([cell])
            self.readers[bit][cell] += 1

    def remove(self, register: Register) -> None:
        """Remove a flip-flop."""
        for (bit,) in self.cells.pop(register.cell)["connections"].values():
            self.readers[bit].pop(register.cell, None)


def together(registers: list[Register]) -> bool:
    """Whether all of them have the same clock and the same enable."""
    return len({(register.clock, register.enable) for register in registers}) == 1
