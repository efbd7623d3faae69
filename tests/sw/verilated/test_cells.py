"""The models of primitives: what yosys makes of memories and multipliers does what Amaranth says they do, and
a block RAM by itself what its vendor says.
"""

import json
import random
from collections import Counter

import pytest
from amaranth.hdl import ClockSignal, Instance, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from haarlequin.hw.families import FAMILIES
from haarlequin.sim import gates
from haarlequin.sw.verilated import build
from tests.sw.verilated.parts import (
    ADDRESS,
    CHIP,
    DATA,
    FACTORS,
    PORT_PINS,
    RAMS,
    Everything,
    Parts,
    synthesise,
)
from tests.sw.verilated.stepped import Gates

pytestmark = pytest.mark.slow

BLOCK_RAMS = {"ecp5": {"DP16KD"}, "ice40": {"SB_RAM40_4K"}, "gowin": {"SDPX9B", "DPB", "DPX9B", "SPX9"}}
OTHERS = {
    "ecp5": {"MULT18X18D", "TRELLIS_DPR16X4", "CCU2C"},
    "ice40": {"SB_MAC16", "SB_CARRY", "SB_SPRAM256KA"},
    "gowin": {"MULT18X18", "MULT9X9", "RAM16SDP4", "ALU"},
}


only_ecp5 = pytest.mark.parametrize("synthesised", ["ecp5"], indirect=True)


@pytest.fixture(scope="module", params=list(FAMILIES))
def synthesised(request, tmp_path_factory):
    """The family, its cells by their number, and the netlist in simulation."""
    family, folder = request.param, tmp_path_factory.mktemp("cells")
    netlist = synthesise(Everything(family), family, folder)
    top = json.loads(netlist.read_text())["modules"]["top"]
    kinds = Counter(cell["type"] for cell in top["cells"].values())
    for cell in top["cells"].values():
        if cell["type"] in ("DP16KD", "MULT18X18D"):
            settings = [value for name, value in cell["parameters"].items() if name.startswith("REG")]
            kinds[cell["type"], settings.count("OUTREG") + settings.count("CLK0")] += 1
    return family, kinds, Gates(netlist, family, folder / "simulator")


def prefixed(part, steps):
    return [{f"{part}_{name}": value for name, value in step.items()} for step in steps]


def of(part, came):
    return [
        {k.removeprefix(f"{part}_"): v for k, v in got.items() if k.startswith(f"{part}_")} for got in came
    ]


def test_the_netlist_has_what_is_to_be_tested(synthesised):
    family, kinds, _ = synthesised
    assert not (BLOCK_RAMS[family] | OTHERS[family]) - kinds.keys()


@only_ecp5
def test_registers_move_into_block_ram_and_multipliers(synthesised):
    """The words of two memories, and what goes into and comes out of two products."""
    _, kinds, _ = synthesised
    rams = sum(count for kind, count in kinds.items() if kind[0] == "DP16KD" and kind[1])
    assert kinds["MULT18X18D", 3] == 2
    assert rams == 2 + 2  # two of `RAMS` have them from the start


def some_steps(count, seed):
    generator = random.Random(seed)
    corners = [0, 1, (1 << 17) - 1, 1 << 17, (1 << 18) - 1, 1 << 8, 1 << 15]
    steps = []
    for i in range(count):
        size = 4 if i % 400 < 200 else 1 << ADDRESS  # few, so that ports meet; then all
        step = {"address": generator.randrange(size), "second": generator.randrange(size)}
        step["data"] = generator.getrandbits(DATA)
        step["enable"] = generator.choice([0, 15, generator.getrandbits(4)])
        step["read"] = i == 0 or generator.random() < 0.8
        for name in ("x", "y"):
            step[name] = generator.choice(corners) if generator.random() < 0.3 else generator.getrandbits(18)
        steps.append(step)
    return steps


def expected(steps):
    """What Amaranth's own simulator makes of the parts."""
    parts, came = Parts(), []
    outputs = [name for name, member in parts.signature.members.items() if member.flow is Out]

    async def testbench(context):
        for step in steps:
            for name, value in step.items():
                context.set(getattr(parts, name), value)
            await context.delay(0)
            came.append({name: context.get(getattr(parts, name)) for name in outputs})
            await context.tick()

    simulator = Simulator(parts)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return came


def test_what_yosys_makes_of_memories_and_products_is_exact(synthesised):
    *_, netlist = synthesised
    steps = some_steps(2000, seed=1)
    came = of("parts", netlist.run(prefixed("parts", steps)))
    for cycle, (got, want) in enumerate(zip(came, expected(steps), strict=True)):
        # What a port gives before it has read is undefined: 0 in Amaranth and on ECP5, anything on iCE40.
        # In the next cycle it is in the registers after it.
        later = {name: value for name, value in want.items() if not name.startswith(("late_", "held"))}
        looked_at = [FACTORS, later, want][min(cycle, 2)]
        wrong = {name: (got[name], want[name]) for name in looked_at if got[name] != want[name]}
        assert not wrong, f"cycle {cycle}: (got, expected) of {wrong}"


class RamModel:
    """A DP16KD by its bits, from Lattice's guide; None is a bit that nobody can know."""

    def __init__(self, ram):
        self.ports, self.reset = {"a": ram.a, "b": ram.b}, ram.reset
        self.bits = [word >> i & 1 for word in ram.words for i in range(18)]  # nine a byte
        self.outputs = {side: [0] * port.width for side, port in self.ports.items()}
        self.registers = {side: [0] * port.width for side, port in self.ports.items()}

    def cells(self, side, address):
        """The bits of the word, and of those the ones that may be written."""
        width = self.ports[side].width
        if width < 9:
            first = 9 * (address >> 3) + (address & 7 & -width)
            return list(range(first, first + width)), [True] * width
        count = width // 9
        first = 9 * ((address >> 3) & -count)
        enabled = [count == 1 or bool(address >> (i // 9) & 1) for i in range(width)]
        return list(range(first, first + width)), enabled

    def see(self, step):
        """The outputs, with what an asynchronous reset has already done."""
        if self.reset == "ASYNC":
            for side, port in self.ports.items():
                if step[f"rst{side}"]:
                    self.outputs[side], self.registers[side] = [0] * port.width, [0] * port.width
        shown = {
            side: (self.registers if port.register else self.outputs)[side] + [0] * (18 - port.width)
            for side, port in self.ports.items()
        }
        if self.ports["b"].width == 36:
            shown = {"a": shown["b"][:18], "b": shown["b"][18:]}
        return shown

    def tick(self, step):
        written, reads = {}, {}
        for side, port in self.ports.items():
            chip = CHIP if side == "a" else 0
            active = step[f"ce{side}"] and step[f"cs{side}"] == chip
            held = step[f"rst{side}"]
            cells, enabled = self.cells(side, step[f"ad{side}"])
            data = step["dia"] | step["dib"] << 18 if side == "a" else step["dib"]
            writes = active and step[f"we{side}"] and not (held and self.reset == "SYNC")
            mine = {c: data >> i & 1 for i, (c, on) in enumerate(zip(cells, enabled, strict=True)) if on}
            written[side] = mine if writes else {}
            reads[side] = cells if active and not (step[f"we{side}"] and port.mode == "NORMAL") else None
        for side, other in ("ab", "ba"):
            port, cells = self.ports[side], reads[side]
            if step[f"rst{side}"]:
                self.outputs[side] = self.registers[side] = [0] * port.width
                continue
            if step[f"oce{side}"]:
                self.registers[side] = self.outputs[side]
            if cells is not None:
                new = written[side] if port.mode == "WRITETHROUGH" else {}
                self.outputs[side] = [
                    new.get(c, None if c in written[other] else self.bits[c]) for c in cells
                ]
        for cell, value in (written["a"] | written["b"]).items():
            both = cell in written["a"] and cell in written["b"]
            self.bits[cell] = None if both else value


def ram_steps(count, seed):
    generator = random.Random(seed)
    steps = []
    for i in range(count):
        step = {
            f"{name}{side}": generator.getrandbits(width)
            for side in "ab"
            for name, width in PORT_PINS.items()
        }
        for side in "ab":
            step[f"rst{side}"] = generator.random() < 0.05
            step[f"ce{side}"] = generator.random() < 0.9
            if generator.random() < 0.95:
                step[f"cs{side}"] = CHIP if side == "a" else 0
            if i % 400 < 200:
                step[f"ad{side}"] &= 63
        steps.append(step)
    return steps


@only_ecp5
@pytest.mark.parametrize("name", RAMS)
def test_a_block_ram_of_ecp5_is_what_the_guide_says(synthesised, name):
    *_, netlist = synthesised
    # A port of 36 bits that reads never writes.
    steps = ram_steps(3000, seed=2)
    if RAMS[name].b.width == 36 or RAMS[name].a.width == 36:
        steps = [step | {"web": 0} for step in steps]
    model, seen, unknown = RamModel(RAMS[name]), Counter(), Counter()
    came = of("primitives", netlist.run(prefixed("primitives", steps)))
    for cycle, (step, got) in enumerate(zip(steps, came, strict=True)):
        for side, bits in model.see(step).items():
            if RAMS[name].a.width == 36 and RAMS[name].b.width != 36 and side == "a":
                continue  # it only writes
            for i, bit in enumerate(bits):
                if bit is None:
                    unknown[got[name + side] >> i & 1] += 1
                else:
                    assert got[name + side] >> i & 1 == bit, f"cycle {cycle}, bit {i} of {side}, {step}"
                    seen[bit] += 1
        model.tick(step)
    assert min(seen[0], seen[1]) > 1000
    assert min(unknown[0], unknown[1]) > 20  # what is undefined is neither always 0 nor always 1


@only_ecp5
def test_a_pll_of_ecp5_passes_the_clock_on_and_locks(synthesised):
    *_, netlist = synthesised
    came = of("primitives", netlist.run([{}] * 40))
    assert [(got["count"] - came[0]["count"]) % 256 for got in came] == [*range(40)]
    assert came[-1]["locked"] == 1


def spram_steps(count, seed):
    generator = random.Random(seed)
    steps = []
    for _ in range(count):
        step = {"address": generator.choice([0, 1, (1 << 13) - 1, 1 << 13, (1 << 14) - 1])}
        step |= {"data": generator.getrandbits(16), "mask": generator.choice([15, generator.getrandbits(4)])}
        steps.append(step | {"write": generator.getrandbits(1), "chip": generator.random() < 0.9})
    return steps


@pytest.mark.parametrize("synthesised", ["ice40"], indirect=True)
def test_an_spram_keeps_what_was_written_by_nibbles(synthesised):
    *_, netlist = synthesised
    steps = spram_steps(3000, seed=3)
    words, shown, seen = {}, [None] * 4, Counter()
    came = of("primitives", netlist.run(prefixed("primitives", steps)))
    for cycle, (step, got) in enumerate(zip(steps, came, strict=True)):
        for i, nibble in enumerate(shown):
            if nibble is not None:
                assert got["output"] >> 4 * i & 15 == nibble, f"cycle {cycle}, nibble {i}, {step}"
                seen[nibble] += 1
        if step["chip"]:
            word = words.setdefault(step["address"], [None] * 4)
            # Its output after a write, or of a word that was never written, is not defined.
            shown = [None] * 4 if step["write"] else list(word)
            for i in range(4):
                if step["write"] and step["mask"] >> i & 1:
                    word[i] = step["data"] >> 4 * i & 15
    assert len(seen) == 16
    assert min(seen.values()) > 100


class Registered(wiring.Component):
    """A primitive with something in it that its model lacks."""

    rx: In(stream.Signature(8))
    tx: Out(stream.Signature(8))

    def __init__(self, kind, **parameters):
        self.kind, self.parameters = kind, {f"p_{name}": value for name, value in parameters.items()}
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.primitive = Instance(self.kind, i_CLK0=ClockSignal(), **self.parameters)
        return m


def test_what_a_model_lacks_is_refused(tmp_path):
    component = Registered("MULT18X18D", MULT_BYPASS="ENABLED")
    sources = {"cells.v": gates.cells({"MULT18X18D"}, "ecp5")}
    with pytest.raises(build.BuildError, match="MULT18X18D: MULT_BYPASS is not modelled"):
        build.build(component, tmp_path / "simulator", sources=sources, options=gates.OPTIONS)


def test_a_primitive_without_a_model_is_named():
    with pytest.raises(
        gates.NetlistError, match=r"^there is no model of DCUA, EXTREFB: sw/verilated/cells/ecp5\.v"
    ):
        gates.cells({"LUT4", "EXTREFB", "DCUA"}, "ecp5")
