"""Running a block in Amaranth's own simulator."""

from collections.abc import Awaitable, Callable

from amaranth.hdl import Elaboratable
from amaranth.sim import Simulator, SimulatorContext


def simulate(
    design: Elaboratable, testbench: Callable[[SimulatorContext], Awaitable[None]], cycles: int = 50_000
) -> None:
    """Clock ``design`` until the testbench returns; AssertionError if that takes more than ``cycles``
    cycles.
    """
    simulator = Simulator(design)
    simulator.add_clock(1e-6)
    ended = False

    async def run(context):
        nonlocal ended
        await testbench(context)
        ended = True

    simulator.add_testbench(run)
    for _ in range(cycles):
        simulator.advance()
        if ended:
            return
    raise AssertionError(f"the testbench did not end within {cycles} cycles")
