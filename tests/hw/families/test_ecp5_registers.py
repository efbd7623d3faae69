"""Small netlists, cell by cell; `test_cells` of the simulator shows that whole ones do the same after it."""

from copy import deepcopy
from itertools import count

import pytest

from haarlequin.hw.families.ecp5_registers import absorb

CLOCK, ENABLE, OTHER = 2, 3, 4
OUTPUTS = ("DO", "P", "Q")
"""What the names of outputs begin with: of block RAMs, multipliers and flip-flops."""


def cell(kind, parameters=(), **pins):
    drives = {pin: "output" if pin.startswith(OUTPUTS) else "input" for pin in pins}
    connections = {pin: [bit] for pin, bit in pins.items()}
    return {
        "type": kind,
        "parameters": dict(parameters),
        "attributes": {},
        "connections": connections,
        "port_directions": drives,
    }


def register(data, output, enable=ENABLE):
    parameters = {"CEMUX": "CE", "CLKMUX": "CLK", "REGSET": "RESET"}
    return cell("TRELLIS_FF", parameters, CE=enable, CLK=CLOCK, DI=data, LSR="0", Q=output)


def netlist(read=(), **cells):
    """A module, of whose nets its pins read some."""
    return {"cells": cells, "ports": {"out": {"direction": "output", "bits": list(read)}}}


def product(bits, read=(), without=(), other=()):
    """A product of two numbers of some bits from registers. Those of the first one, by their place: which are
    read elsewhere, too, which have none, and which have another enable.
    """
    nets, cells, pins = count(10), {}, {}
    for side in "AB":
        for place in range(18):
            pins[f"{side}{place}"] = "0" if place >= bits else next(nets)
            if place < bits and not (side == "A" and place in without):
                enable = OTHER if side == "A" and place in other else ENABLE
                cells[f"{side}{place}"] = register(next(nets), pins[f"{side}{place}"], enable)
    elsewhere = [pins[f"A{place}"] for place in read]
    return netlist(elsewhere, product=cell("MULT18X18D", **pins), **cells)


@pytest.mark.parametrize("read", [(), (0,)])
def test_registers_of_factors_move(read):
    """One that is read elsewhere stays as well."""
    module = product(4, read)
    data = {name: each["connections"].get("DI") for name, each in module["cells"].items()}
    absorb(module)
    assert module["cells"].keys() == {"product", *(f"A{place}" for place in read)}
    pins, parameters = (module["cells"]["product"][part] for part in ("connections", "parameters"))
    for side in "AB":
        assert [pins[f"{side}{i}"] for i in range(18)] == [data.get(f"{side}{i}", ["0"]) for i in range(18)]
        assert [parameters[f"REG_INPUT{side}_{what}"] for what in ("CLK", "CE", "RST")] == [
            "CLK0",
            "CE0",
            "RST0",
        ]
    assert (pins["CLK0"], pins["CE0"], pins["RST0"]) == ([CLOCK], [ENABLE], ["0"])
    assert parameters["GSR"] == "DISABLED"


@pytest.mark.parametrize(
    "how", [{"read": (0, 1)}, {"without": (0,)}, {"other": (0,)}], ids=["half elsewhere", "none", "enables"]
)
def test_factors_whose_registers_stay(how):
    """Where half of them would be there twice; where a bit has none; where not all have the same enable."""
    module = product(4, **how)
    before = deepcopy(module)
    absorb(module)
    assert module == before


def word(enables):
    """A word of 36 bits from both sides of a block RAM, and registers of each side with an enable."""
    parameters = {"DATA_WIDTH_A": f"{36:032b}", "DATA_WIDTH_B": f"{36:032b}"}
    pins = {"CLKA": CLOCK, "CLKB": CLOCK, "RSTA": "0", "RSTB": "0"}
    nets, cells, outputs = count(10), {}, []
    for side, enable in zip("AB", enables, strict=True):
        for place in range(18):
            pins[f"DO{side}{place}"] = next(nets)
            outputs.append(next(nets))
            cells[f"{side}{place}"] = register(pins[f"DO{side}{place}"], outputs[-1], enable)
    return netlist(outputs, ram=cell("DP16KD", parameters, **pins), **cells), outputs


def test_registers_of_a_word_move():
    module, outputs = word([ENABLE, ENABLE])
    absorb(module)
    assert module["cells"].keys() == {"ram"}
    pins, parameters = (module["cells"]["ram"][part] for part in ("connections", "parameters"))
    assert [pins[f"DO{side}{place}"] for side in "AB" for place in range(18)] == [[bit] for bit in outputs]
    assert [parameters[f"REGMODE_{side}"] for side in "AB"] == ["OUTREG", "OUTREG"]
    assert [pins[f"OCE{side}"] for side in "AB"] == [[ENABLE], [ENABLE]]


def test_a_word_of_both_sides_moves_as_a_whole_or_not_at_all():
    module, _ = word([ENABLE, OTHER])
    before = deepcopy(module)
    absorb(module)
    assert module == before
