import random
from types import SimpleNamespace

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from haarlequin.hw.lanes.sequencer import token_layout
from haarlequin.hw.lanes.token_pipe import TokenPipe
from haarlequin.hw.presets import CONFIGS
from haarlequin.hw.program import CONTEXTS, pass_layout
from tests.hw.bench import simulate
from tests.small_machines import MACHINES

CONFIG = CONFIGS["2x64"]
STAGES = (2, 3, 9)


class Pipe(wiring.Component):
    """A pipe behind what a sequencer would show."""

    def __init__(self, config, *names):
        self._config, self._names = config, names
        self.sequencer = SimpleNamespace(
            token=Signal(token_layout(config)),
            current=Signal(pass_layout(config)),
            fresh=Signal(),
            index=Signal(12),
        )
        super().__init__({f"{name}_{stage}": Out(14) for name in (*names, "number") for stage in STAGES})

    def elaborate(self, platform):
        m = Module()
        pipe = TokenPipe(m, self._config, self.sequencer, STAGES[-1])
        for stage in STAGES:
            fields = pipe.fields(stage, *self._names)
            for name in self._names:
                m.d.comb += getattr(self, f"{name}_{stage}").eq(fields[name])
            m.d.comb += getattr(self, f"number_{stage}").eq(pipe[stage].number)
        return m


def test_fields_are_those_of_the_pass_of_the_token():
    """Of passes of one cycle and more, as many of them on their way as there are contexts."""
    pipe, generator, issued = Pipe(CONFIG, "cycles", "index"), random.Random(0), []
    for index in range(60):
        cycles = generator.randrange(1 << 14)
        issued += [(index, cycles, number) for number in range(generator.choice([1, 3, 12]))]

    async def testbench(context):
        part = pipe.sequencer
        for now, (index, cycles, number) in enumerate(issued):
            context.set(part.token, {"number": number, "context": index % CONTEXTS})
            context.set(part.current, {"cycles": cycles})
            context.set(part.fresh, number == 0)
            context.set(part.index, index)
            # A pass that began too long ago has lost its entry: the compiler waits for it.
            for stage in (
                stage for stage in STAGES if stage <= now and index - issued[now - stage][0] < CONTEXTS
            ):
                then = issued[now - stage]
                found = (getattr(pipe, f"{name}_{stage}") for name in ("index", "cycles", "number"))
                assert tuple(map(context.get, found)) == then
            await context.tick()

    simulate(pipe, testbench)


@pytest.mark.parametrize("names", [("chunk",), ("chunk", "local")])
def test_the_only_chunk_of_a_word_has_no_bits(names):
    """A memory of none would stop Verilog's writer."""
    pipe = Pipe(MACHINES["8x8"], *names)

    async def testbench(context):
        for _ in range(4):
            await context.tick()
        assert context.get(getattr(pipe, f"chunk_{STAGES[0]}")) == 0

    simulate(pipe, testbench)
