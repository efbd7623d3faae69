import random

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Cat, Const, Elaboratable, Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.bitstream.tools import call
from haarlequin.hw.boards import BOARDS
from haarlequin.hw.families import carry
from haarlequin.hw.lanes.hamming import HammingDistance
from haarlequin.models.common.errors import UsageError
from haarlequin.sim import gates
from tests.hw.bench import simulate

WIDTHS = [1, 2, 3, 4, 7, 8, 9, 32, 45, 48, 64, 96]
"""Halves of words of machines and of small ones, and widths whose trees differ."""


class CarryCell(Elaboratable):
    """A CCU2C as yosys' ``ccu2c_sim.vh`` has it; Amaranth's simulator knows no primitives."""

    def __init__(self, kind, *, p_INIT0, p_INIT1, p_INJECT1_0, p_INJECT1_1, **ports):
        assert (kind, p_INJECT1_0, p_INJECT1_1) == ("CCU2C", "NO", "NO")
        assert len(p_INIT0) == len(p_INIT1) == 16  # an entry for each value of four inputs
        self.inits, self.ports = (p_INIT0, p_INIT1), ports

    def elaborate(self, platform):
        m, ports = Module(), dict(self.ports)
        cin = ports.pop("i_CIN", Const(0, 1))
        for half, init in enumerate(self.inits):
            given = [ports.pop(f"i_{name}{half}") for name in "ABCD"]
            assert {value for value in given if isinstance(value, int)} <= {1}  # a 0 would need a wire
            a, b, c, d = map(Value.cast, given)
            propagate, generate = init.bit_select(Cat(a, b, c, d), 1), init[:4].bit_select(Cat(a, b), 1)
            m.d.comb += ports.pop(f"o_S{half}").eq(propagate ^ cin)
            cin = (propagate & cin) | (~propagate & generate)
        if (cout := ports.pop("o_COUT", None)) is not None:
            m.d.comb += cout.eq(cin)
        assert not ports
        return m


class Placed(wiring.Component):
    """A distance as a board's platform has it."""

    def __init__(self, width, platform):
        self.distance, self.platform = HammingDistance(width), platform
        super().__init__({"a": In(width), "b": In(width), "count": Out(width.bit_length())})

    def elaborate(self, _):
        m = Module()
        m.d.comb += [self.distance.a.eq(self.a), self.distance.b.eq(self.b)]
        m.d.comb += self.count.eq(self.distance.distance)
        m.submodules.distance = self.distance.elaborate(self.platform)
        return m


ECP5, ICE40 = (BOARDS[name].platform() for name in ("ulx3s-25f", "icebreaker"))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("platform", [None, ICE40, ECP5], ids=["none", "ice40", "ecp5"])
def test_it_counts_every_cycle(monkeypatch, platform, width):
    monkeypatch.setattr(carry, "Instance", CarryCell)
    generator = random.Random(width)
    ones = (1 << width) - 1
    words = [(0, 0), (ones, 0), (0, ones), (ones, ones), *((1 << i, 0) for i in range(width))]
    words += [(generator.getrandbits(width), generator.getrandbits(width)) for _ in range(60)]
    design = Placed(width, platform)
    latency = design.distance.latency

    async def testbench(context):
        for cycle in range(len(words) + latency):
            if cycle >= latency:
                a, b = words[cycle - latency]
                assert context.get(design.count) == (a ^ b).bit_count(), f"{a:b} {b:b}"
            a, b = words[min(cycle, len(words) - 1)]
            context.set(design.a, a)
            context.set(design.b, b)
            await context.tick()

    simulate(design, testbench)


@pytest.mark.parametrize(("width", "cycles"), [(3, 2), (7, 3), (45, 5), (63, 6), (64, 6)])
def test_cycles_of_the_slower_variant(width, cycles):
    """A tree of d additions has room for 2^(d + 1) − 1 bits."""
    assert HammingDistance(width).latency == cycles


def proven(width, folder):
    """Whether the ECP5's variant is equal to the other one, by yosys' own model of the cell, for all inputs:
    after the cycles of the latency, whatever the registers began with.
    """
    for name, platform in (("gold", None), ("gate", ECP5)):
        design = Placed(width, platform)
        ports = [design.a, design.b, design.count]
        (folder / f"{name}.il").write_text(rtlil.convert(design, name=name, ports=ports), encoding="utf-8")
    (folder / "cells.v").write_text(gates.cells({"CCU2C"}, "ecp5"), encoding="utf-8")
    (folder / "equal.ys").write_text(f"""\
read_verilog cells.v
read_rtlil gate.il
hierarchy -top gate
flatten gate
read_rtlil gold.il
flatten gold
proc
opt -full
miter -equiv -flatten -make_outputs gold gate miter
hierarchy -top miter
opt -full
sat -verify -prove trigger 0 -seq {design.distance.latency} -tempinduct -set-init-undef -set-def-inputs miter
""")
    try:
        call("yosys", ["-q", "-s", "equal.ys"], folder)
    except UsageError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("width", [1, 4, 9, 16])
def test_both_variants_are_equal_for_all_inputs(width, tmp_path):
    assert proven(width, tmp_path)


@pytest.mark.slow
def test_a_wrong_cell_is_noticed(monkeypatch, tmp_path):
    monkeypatch.setattr(carry, "_SUM", carry._SUM ^ 1 << 14)
    assert not proven(9, tmp_path)


@pytest.mark.parametrize("width", [0, -1, 1.0, "8"])
def test_a_width_that_is_none(width):
    with pytest.raises(ValueError, match=r"HammingDistance width must be a positive integer, not "):
        HammingDistance(width)
