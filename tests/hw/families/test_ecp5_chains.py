"""Carry chains that follow each other in a row compute what they did, and nextpnr takes less for them."""

import copy
from itertools import count, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haarlequin.hw.families.ecp5_chains import join

INPUTS = range(2, 6)
"""Nets that come from outside."""

inits = st.sampled_from([0x96AA, 0x5AAA, 0x6996, 0xAAAA, 0x0006, 0x0000, 0xFFFF]) | st.integers(0, 0xFFFF)


def cell(halves, carry_in, carry_out, sums):
    """A CCU2C; ``halves`` are its INITs with their inputs, and None leaves a pin unconnected."""
    pins = {"CIN": carry_in, "COUT": carry_out, "S0": sums[0], "S1": sums[1]}
    for place, (_, inputs) in enumerate(halves):
        pins |= {f"{name}{place}": bit for name, bit in zip("ABCD", inputs, strict=True)}
    pins = {name: [bit] for name, bit in pins.items() if bit is not None}
    return {
        "type": "CCU2C",
        "attributes": {},
        "parameters": {f"INIT{place}": f"{init:016b}" for place, (init, _) in enumerate(halves)}
        | {f"INJECT1_{place}": "NO" for place in (0, 1)},
        "port_directions": {name: "output" if name[0] == "S" or name == "COUT" else "input" for name in pins},
        "connections": pins,
    }


@st.composite
def modules(draw):
    """A few chains, in one module or two. A chain may need sums and the last carry of those before it."""
    nets, cells, outputs = count(max(INPUTS) + 1), {}, []
    known = [*INPUTS, "0", "1"]
    for chain in range(draw(st.integers(1, 5))):
        module, carry = draw(st.sampled_from(["a", "b"])), draw(st.sampled_from(["0", "1", *known]))
        made = []
        for place in range(draw(st.integers(1, 4))):
            halves = [(draw(inits), [draw(st.sampled_from(known)) for _ in "ABCD"]) for _ in (0, 1)]
            sums, leaves = (next(nets), next(nets)), next(nets)
            cells[f"{module}.{chain}_{place}"] = cell(halves, carry, leaves, sums)
            made += [net for net in sums if draw(st.booleans())]
            carry = leaves
        made += [carry] * draw(st.integers(0, 1))
        outputs += made
        through = draw(st.sampled_from([None, *made]))
        if through is not None:
            lut = next(nets)
            cells[f"lut_{chain}"] = lut4(draw(st.integers(0, 0xFFFF)), through, lut)
            known += [lut, *made]
    ports = {"i": {"bits": [*INPUTS]}, "o": {"bits": outputs}}
    return {"cells": cells, "ports": ports, "netnames": {}}


def lut4(init, net, result):
    pins = {"A": net, "B": INPUTS[0], "C": "1", "D": INPUTS[1], "Z": result}
    return {
        "type": "LUT4",
        "attributes": {},
        "parameters": {"INIT": f"{init:016b}"},
        "port_directions": {name: "output" if name == "Z" else "input" for name in pins},
        "connections": {name: [bit] for name, bit in pins.items()},
    }


def values(module, given_values):
    """What the outputs are; yosys' ``ccu2c_sim.vh`` in Python."""
    known = {"0": 0, "1": 1} | given_values
    waiting = list(module["cells"].values())
    while waiting:
        here = next(each for each in waiting if all(bit in known for bit in of(each, "input").values()))
        waiting.remove(here)
        pins, results = of(here, "input"), of(here, "output")
        if here["type"] == "LUT4":
            at = sum(known[pins[name]] << i for i, name in enumerate("ABCD"))
            known[results["Z"]] = int(here["parameters"]["INIT"], 2) >> at & 1
            continue
        carry = known[pins["CIN"]]
        for place in (0, 1):
            init = int(here["parameters"][f"INIT{place}"], 2)
            at = sum(known[pins[f"{name}{place}"]] << i for i, name in enumerate("ABCD"))
            onward = init >> at & 1
            known[results.get(f"S{place}", "nowhere")] = onward ^ carry
            carry = carry if onward else init >> (at & 3) & 1
        known[results["COUT"]] = carry
    return [known[bit] for bit in module["ports"]["o"]["bits"]]


def of(cell, direction):
    return {
        name: bit
        for name, (bit,) in cell["connections"].items()
        if cell["port_directions"][name] == direction
    }


def placed(module):
    """The LUT4 that nextpnr takes for chains: also its own cells before a first and behind a last carry."""
    cells = [each for each in module["cells"].values() if each["type"] == "CCU2C"]
    everything = module["cells"].values()
    read = [bit for each in everything for bit in of(each, "input").values()] + module["ports"]["o"]["bits"]
    leaving = {of(each, "output")["COUT"] for each in cells}
    joined = {bit for each in cells if read.count(bit := of(each, "input")["CIN"]) == 1} & leaving
    return 2 * len(cells) + 4 * (len(cells) - len(joined))


@given(modules())
def test_they_compute_the_same(module):
    assert_the_same(module)


def assert_the_same(module):
    rebuilt = copy.deepcopy(module)
    join(rebuilt)
    for bits in product((0, 1), repeat=len(INPUTS)):
        given_values = dict(zip(INPUTS, bits, strict=True))
        assert values(rebuilt, given_values) == values(module, given_values)


@given(modules())
def test_what_nextpnr_saves(module):
    before = placed(module)
    saved = join(module)
    assert saved >= 0
    assert placed(module) == before - saved


def adders(*widths, carry="0", read=True, module="a"):
    """Chains as yosys makes them of additions of so many bits."""
    nets = count(max(INPUTS) + 1)
    cells, outputs = {}, []
    for number, width in enumerate(widths):
        sums, first = [], carry
        for place in range(-(-width // 2)):
            totals, leaves = (next(nets), next(nets)), next(nets)
            cells[f"{module}.add{number}_{place}"] = cell(
                [(0x96AA, [2, 3, "0", "1"])] * 2, first, leaves, totals
            )
            sums += totals
            first = leaves
        outputs += sums[:width] if read else [first]
    return {"cells": cells, "ports": {"o": {"bits": outputs}}, "netnames": {}}


@pytest.mark.parametrize(
    ("module", "cells"),
    [
        (adders(12, 12), 13),  # 12 + 1 + 12 half cells
        (adders(11, 12), 12),  # the half cell that yosys leaves over is the one between
        (adders(12, 12, carry=5), 13),
        (adders(12, 12, 12, read=False), 19),  # half cells between hand out the carry, too
        (adders(16, 15, 15), 24),  # as many as go into a row
        (adders(16, 16, 15), 17 + 8),
    ],
)
def test_what_additions_take(module, cells):
    assert_the_same(module)
    join(module)
    assert len(module["cells"]) == cells


def test_comparisons_of_nobody_need_nothing_between_them():
    """Where a chain's first sum is not read, nor the last carry before, its half cell begins by itself."""
    module = adders(12, 12)
    unread = of(module["cells"]["a.add1_0"], "output")["S0"]
    module["ports"]["o"]["bits"].remove(unread)
    join(module)
    assert len(module["cells"]) == 12


def test_a_carry_that_begins_with_two_inputs():
    """Such half cells are `hw.families.carry`'s; one that begins with a constant is left to nextpnr."""
    module = adders(4)
    pins = module["cells"]["a.add0_0"]["connections"]
    module["ports"]["o"]["bits"].remove(*pins.pop("S0"))
    pins |= {"C0": ["1"], "D0": ["1"]}
    for init in (0b0110, 0b1111, 0b0000):
        module["cells"]["a.add0_0"]["parameters"]["INIT0"] = f"{init:016b}"
        assert_the_same(module)


def test_a_sum_that_another_addition_needs_is_in_another_row():
    module = adders(4, 4)
    first = of(module["cells"]["a.add0_0"], "output")["S0"]
    module["cells"]["lut"] = lut4(0x6996, first, 99)
    module["cells"]["a.add1_1"]["connections"]["A1"] = [99]
    before = placed(module)
    assert join(module) == 0
    assert placed(module) == before


def test_other_modules_have_other_rows():
    module, other = adders(4), adders(4, module="b")
    module["cells"] |= other["cells"]
    assert join(module) == 0


def test_cells_keep_their_names_and_places_in_the_source():
    module = adders(4, 4)
    for each in module["cells"].values():
        each["attributes"] = {"src": "somewhere.py:1"}
    join(module)
    assert module["cells"].keys() == {*(f"a.add{i // 2}_{i % 2}" for i in range(4)), "a.add1_1_4"}
    assert all(each["attributes"] == {"src": "somewhere.py:1"} for each in module["cells"].values())


def test_a_cell_that_injects_is_refused():
    module = adders(4)
    module["cells"]["a.add0_1"]["parameters"]["INJECT1_0"] = "YES"
    with pytest.raises(ValueError, match="injected carry"):
        join(module)
