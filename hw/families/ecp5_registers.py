"""Registers beside block RAMs and multipliers of an ECP5's netlist move into these, which have their own.

yosys 0.70 leaves them unused. Without them a word takes 5.8 ns out of a block RAM, and a product waits in the
same cycle for the wires of its factors and for its own.
"""

from collections import Counter
from typing import Any

from haarlequin.hw.families.ecp5_netlist import ZERO, Bit, Netlist, Register

_WIDE = 36
"""Bits of a word that comes out of both ports of a block RAM."""


def absorb(module: dict[str, Any]) -> Counter[str]:
    """Move registers without a reset into the block RAMs and multipliers of a module of yosys' JSON. Returns
    how many flip-flops have moved, by what they hold.

    A multiplier's factors move both or not at all: nextpnr has no timing for one of them.
    """
    netlist, moved = Netlist(module), Counter[str]()
    for name, cell in list(netlist.cells.items()):
        if cell["type"] == "MULT18X18D":
            moved += _multiplier(netlist, name)
        elif cell["type"] == "DP16KD":
            moved += _block_ram(netlist, name)
    return moved


def _multiplier(netlist: Netlist, name: str) -> Counter[str]:
    pins, parameters = (netlist.cells[name][part] for part in ("connections", "parameters"))
    moved, enables = Counter[str](), list[Bit]()

    def controlled(which: str, register: Register) -> None:
        if register.enable not in enables:
            enables.append(register.enable)
            netlist.connect(name, f"CE{len(enables) - 1}", register.enable, drives=False)
            netlist.connect(name, f"RST{len(enables) - 1}", ZERO, drives=False)
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
        return moved
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
            moved["factors"] += len(registers)
    if results:
        by_data = {register.data: register for register in results}
        for pin in products:
            if register := by_data.get(pins[pin][0]):
                netlist.connect(name, pin, register.output, drives=True)
        controlled("OUTPUT", results[0])
        for register in results:
            netlist.remove(register)
        moved["products"] += len(results)
    if moved:
        parameters["GSR"] = "DISABLED"
    return moved


def _block_ram(netlist: Netlist, name: str) -> Counter[str]:
    pins, parameters = (netlist.cells[name][part] for part in ("connections", "parameters"))
    moved = Counter[str]()
    widths = {side: int(parameters[f"DATA_WIDTH_{side}"], 2) for side in "AB"}
    # A word of 36 bits is read at both sides, by port B.
    for sides in ("AB",) if _WIDE in widths.values() else ("A", "B"):
        outputs = [pin for pin in pins if pin[:-1].rstrip("0123456789")[:2] == "DO" and pin[2] in sides]
        registers = netlist.after(pins[pin][0] for pin in outputs)
        controls = {(pins[f"CLK{side}"][0], pins.get(f"RST{side}", [ZERO])[0]) for side in sides}
        inverted = any(parameters.get(f"CLK{side}MUX") == "INV" for side in sides)
        if not registers or inverted or controls != {(registers[0].clock, ZERO)}:
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
        moved["words"] += len(registers)
    return moved
