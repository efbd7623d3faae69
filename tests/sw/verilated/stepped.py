"""A netlist that Python clocks, edge by edge: what its primitives are compared with in `test_cells`."""

from collections.abc import Mapping
from pathlib import Path

from amaranth.hdl import Instance, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.sim import gates
from haarlequin.sw.verilated import build
from haarlequin.sw.verilated.simulation import Simulation


class Stepped(wiring.Component):
    """A netlist whose inputs come as bytes of ``rx``. After the last of them, its outputs go to ``tx`` as
    they are, and then its clock ``clk`` rises and falls.
    """

    rx: In(stream.Signature(8))
    tx: Out(stream.Signature(8))

    def __init__(self, inputs: Mapping[str, int], outputs: Mapping[str, int]):
        self.inputs, self.outputs = inputs, outputs
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        sizes = [-(-sum(widths.values()) // 8) for widths in (self.inputs, self.outputs)]
        driven, seen = (Signal(8 * size) for size in sizes)
        clock, count = Signal(), Signal(range(max(sizes) + 1))
        pins = {"i_clk": clock}
        for kind, bits, widths in (("i", driven, self.inputs), ("o", seen, self.outputs)):
            first = 0
            for name, width in widths.items():
                pins[f"{kind}_{name}"] = bits[first : first + width]
                first += width
        m.submodules.netlist = Instance(gates.NETLIST, **pins)
        with m.FSM():
            with m.State("TAKE"):
                m.d.comb += self.rx.ready.eq(1)
                with m.If(self.rx.valid):
                    m.d.sync += [driven.word_select(count, 8).eq(self.rx.payload), count.eq(count + 1)]
                    with m.If(count == sizes[0] - 1):
                        m.d.sync += count.eq(0)
                        m.next = "GIVE"
            with m.State("GIVE"):
                m.d.comb += [self.tx.valid.eq(1), self.tx.payload.eq(seen.word_select(count, 8))]
                with m.If(self.tx.ready):
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == sizes[1] - 1):
                        m.d.sync += [count.eq(0), clock.eq(1)]
                        m.next = "FALL"
            with m.State("FALL"):
                m.d.sync += clock.eq(0)
                m.next = "TAKE"
        return m


class Gates:
    """A netlist, to be stepped; the order of the ports is theirs in the netlist."""

    def __init__(self, netlist: Path, family: str, folder: Path):
        found = gates.read(netlist, family)
        self._inputs, self._outputs = (
            {name: width for name, (of, width) in found.pins.items() if of == direction and name != "clk"}
            for direction in ("input", "output")
        )
        component = Stepped(self._inputs, self._outputs)
        self._folder = build.build(component, folder, sources=found.sources, options=gates.OPTIONS)

    def run(self, steps: list[dict[str, int]]) -> list[dict[str, int]]:
        """From power-up, the outputs in each step, before its edge of the clock; inputs not named are 0."""
        size, got = -(-sum(self._outputs.values()) // 8), b""
        with Simulation(self._folder) as simulation:
            for step in steps:
                simulation.send(_packed(step, self._inputs))
            while part := simulation.receive(1000):
                got += part
        assert len(got) == size * len(steps)
        return [_unpacked(got[size * i : size * (i + 1)], self._outputs) for i in range(len(steps))]


def _packed(values: Mapping[str, int], widths: Mapping[str, int]) -> bytes:
    bits, first = 0, 0
    for name, width in widths.items():
        bits |= (values.get(name, 0) & ((1 << width) - 1)) << first
        first += width
    assert values.keys() <= widths.keys()
    return bits.to_bytes(-(-first // 8), "little")


def _unpacked(data: bytes, widths: Mapping[str, int]) -> dict[str, int]:
    bits, values = int.from_bytes(data, "little"), {}
    for name, width in widths.items():
        values[name] = bits & ((1 << width) - 1)
        bits >>= width
    return values
