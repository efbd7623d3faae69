"""Carry chains that were rebuilt compute what they did, whatever an input is that nothing drives."""

import copy
from itertools import count, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haarlequin.hw.families.ecp5_chains import shorten

INPUTS = range(2, 6)
"""Nets that come from outside."""

bits = st.sampled_from([*INPUTS, "0", "1"])
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
    """A few chains. The last carry of one may be read, also as the first of the next one."""
    nets, cells, outputs = count(max(INPUTS) + 1), {}, []
    before = None
    for chain in range(draw(st.integers(1, 3))):
        carry = draw(st.sampled_from(["0", "1", None, INPUTS[0], before]))
        for place in range(length := draw(st.integers(1, 4))):
            halves = [(draw(inits), [draw(bits) for _ in "ABCD"]) for _ in (0, 1)]
            sums, leaves = (next(nets), next(nets)), next(nets)
            if place == length - 1 and draw(st.booleans()):
                leaves = None
            cells[f"{chain}.{place}"] = cell(halves, carry, leaves, sums)
            outputs += [net for net in sums if draw(st.booleans())]
            carry = leaves
        before = carry
        if carry is not None and draw(st.booleans()):
            outputs.append(carry)
    ports = {"i": {"bits": [*INPUTS]}, "o": {"bits": outputs}}
    return {"cells": cells, "ports": ports, "netnames": {}}


def values(module, given_values, undriven):
    """What the outputs are; yosys' ``ccu2c_sim.vh`` in Python."""
    known = {"0": 0, "1": 1, None: undriven} | given_values
    waiting = list(module["cells"].values())
    while waiting:
        here = next(each for each in waiting if all(bit in known for bit in of(each, "input").values()))
        waiting.remove(here)
        pins, results = of(here, "input"), of(here, "output")
        if here["type"] == "LUT4":
            at = sum(known[pins[name]] << i for i, name in enumerate("ABCD"))
            known[results["Z"]] = int(here["parameters"]["INIT"], 2) >> at & 1
            continue
        carry = known[pins.get("CIN")]
        for place in (0, 1):
            init = int(here["parameters"][f"INIT{place}"], 2)
            at = sum(known[pins[f"{name}{place}"]] << i for i, name in enumerate("ABCD"))
            onward = init >> at & 1
            known[results.get(f"S{place}", "nowhere")] = onward ^ carry
            carry = carry if onward else init >> (at & 3) & 1
        known[results.get("COUT", "nowhere")] = carry
    return [known[bit] for bit in module["ports"]["o"]["bits"]]


def of(cell, direction):
    return {
        name: bit
        for name, (bit,) in cell["connections"].items()
        if cell["port_directions"][name] == direction
    }


def placed(module):
    """The LUT4 that nextpnr takes: its own cells before a first carry and behind a last one are counted."""
    cells = module["cells"].values()
    carries = {of(each, "input").get("CIN") for each in cells if each["type"] == "CCU2C"}
    taken = sum({"LUT4": 1, "CCU2C": 2}[each["type"]] for each in cells)
    leaving = {of(each, "output").get("COUT"): each for each in cells if "COUT" in each["connections"]}
    read = [bit for each in cells for bit in of(each, "input").values()] + module["ports"]["o"]["bits"]
    joined = {bit for bit in carries & leaving.keys() if read.count(bit) == 1}
    taken += 2 * sum(
        "CIN" in each["connections"] and of(each, "input")["CIN"] not in joined
        for each in cells
        if each["type"] == "CCU2C"
    )
    return taken + 2 * len(leaving.keys() - joined)


@given(modules())
def test_it_computes_the_same(module):
    rebuilt = copy.deepcopy(module)
    shorten(rebuilt)
    # A chain that had no first carry may go on with whatever there is.
    floating = any("CIN" not in each["connections"] for each in module["cells"].values())
    for bits_in in product((0, 1), repeat=len(INPUTS)):
        given_values = dict(zip(INPUTS, bits_in, strict=True))
        for undriven in (0, 1):
            wanted = values(module, given_values, undriven if floating else 0)
            assert values(rebuilt, given_values, undriven) == wanted


@given(modules())
def test_nextpnr_has_nothing_to_add(module):
    before = placed(module)
    saved = shorten(module)
    assert saved >= 0
    assert placed(module) == before - saved
    for each in module["cells"].values():
        assert of(each, "input").get("CIN") not in ("0", "1", *INPUTS)


def adder(width, carry_in, read=True):
    """A chain as yosys makes it of an addition of so many bits, with nobody at its last carry."""
    nets = count(max(INPUTS) + 1)
    cells, sums, carry = {}, [], carry_in
    for place in range(-(-width // 2)):
        totals, leaves = (next(nets), next(nets)), next(nets)
        cells[f"add_{place}"] = cell([(0x96AA, [2, 3, "0", "1"])] * 2, carry, leaves, totals)
        sums += totals
        carry = leaves
    outputs = sums[:width] if read else [carry]
    return {"cells": cells, "ports": {"o": {"bits": outputs}}, "netnames": {}}


@pytest.mark.parametrize("carry", ["0", "1", 4])
@pytest.mark.parametrize(
    ("width", "read", "lut4", "from_net"),
    [
        (4, True, 5, 6),  # four, and the first sum by itself, or a half cell for the carry from elsewhere
        (5, True, 6, 6),  # the half cell that was left over
        (4, False, 6, 6),  # a comparison: nobody reads sums, and one half cell hands out the carry
        (1, True, 2, 2),
    ],
)
def test_what_an_addition_takes(width, read, lut4, from_net, carry):
    module = adder(width, carry, read)
    assert placed(module) == 2 * -(-width // 2) + 4
    shorten(module)
    assert placed(module) == (from_net if carry == 4 else lut4)


def test_cells_keep_their_names_and_places_in_the_source():
    module = adder(4, "1")
    for each in module["cells"].values():
        each["attributes"] = {"src": "somewhere.py:1"}
    shorten(module)
    assert module["cells"].keys() == {"add_0", "add_1", "add_0_first"}
    assert all(each["attributes"] == {"src": "somewhere.py:1"} for each in module["cells"].values())


def test_a_cell_that_injects_stays_as_it_is():
    module = adder(4, "1")
    module["cells"]["add_1"]["parameters"]["INJECT1_0"] = "YES"
    before = copy.deepcopy(module)
    assert shorten(module) == 0
    assert module == before
