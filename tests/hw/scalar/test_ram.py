import random
from types import SimpleNamespace

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring

from haarlequin.hw.scalar.isa import ADDRESS
from haarlequin.hw.scalar.ram import SinglePortRam
from tests.hw.bench import simulate
from tests.sw.verilated.parts import synthesise
from tests.sw.verilated.stepped import Gates

pytestmark = pytest.mark.slow

EDGES = [0, 1, 0x3FFF, 0x4000, 0x7FFF, 0x8000, 0xBFFF, 0xC000, 0xFFFF]
"""Addresses at the ends of the banks."""


class OnPart(wiring.Component):
    """The memory, made for an iCE40UP5K."""

    def __init__(self):
        super().__init__(SinglePortRam(1 << ADDRESS).signature)

    def elaborate(self, platform):
        m = Module()
        ram = SinglePortRam(1 << ADDRESS)
        m.submodules.ram = ram.elaborate(SimpleNamespace(device="iCE40UP5K"))
        m.d.comb += [getattr(ram, name).eq(getattr(self, name)) for name in ("addr", "write", "data")]
        m.d.comb += self.answer.eq(ram.answer)
        return m


def drawn_steps(seed, count):
    """Writes to every address that is read, then both, in a row and mixed, of words in all four banks."""
    generator = random.Random(seed)
    addresses = EDGES + [generator.randrange(1 << 16) for _ in range(50)]
    steps = [{"addr": addr, "write": 1, "data": generator.getrandbits(16)} for addr in addresses]
    for _ in range(count):
        write = int(generator.random() < 0.4)
        steps.append({"addr": generator.choice(addresses), "write": write, "data": generator.getrandbits(16)})
    return steps


def golden(steps):
    """The answer in each cycle, None where it is undefined."""
    words, answers = {}, [None]
    for step in steps:
        answers.append(None if step["write"] else words[step["addr"]])
        if step["write"]:
            words[step["addr"]] = step["data"]
    return answers[:-1]


def simulated(steps, folder):
    ram, answers = SinglePortRam(1 << ADDRESS), []

    async def testbench(context):
        for step in steps:
            for name, value in step.items():
                context.set(getattr(ram, name), value)
            answers.append(context.get(ram.answer))
            await context.tick()

    simulate(ram, testbench)
    return answers


def gates(steps, folder):
    """Of what yosys makes of it for the part."""
    netlist = synthesise(OnPart(), "ice40", folder)
    assert netlist.read_text().count('"type": "SB_SPRAM256KA"') == 4
    return [came["answer"] for came in Gates(netlist, "ice40", folder / "simulator").run(steps)]


@pytest.mark.parametrize("rtl", [simulated, gates])
def test_words_come_back(rtl, tmp_path):
    steps = drawn_steps(1, 3000)
    answers = zip(rtl(steps, tmp_path), golden(steps), strict=True)
    wrong = [(cycle, got, want) for cycle, (got, want) in enumerate(answers) if want not in (None, got)]
    assert not wrong
