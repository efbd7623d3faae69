import pytest
from amaranth.hdl import Module, Signal

from tests.hw import bench
from tests.hw.bench import simulate


async def forever(context):
    while True:
        await context.tick()


def test_a_testbench_without_an_end():
    m = Module()
    m.d.sync += Signal(name="x").eq(1)
    with pytest.raises(AssertionError, match="did not end within 10 cycles"):
        simulate(m, forever, cycles=10)


def test_logic_without_an_end(monkeypatch):
    """A loop without a register, once the testbench runs."""
    monkeypatch.setattr(bench, "LIMIT", 0.2)
    m, x, running = Module(), Signal(), Signal()
    m.d.comb += x.eq(~x & running)
    m.d.sync += running.eq(1)
    with pytest.raises(AssertionError, match="has not ended"):
        simulate(m, forever)
