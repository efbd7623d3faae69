"""Running a block in Amaranth's own simulator."""

import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from amaranth.hdl import Elaboratable
from amaranth.sim import Simulator, SimulatorContext

LIMIT = 40.0
"""Seconds of processor time that a simulation may take; the longest one takes a few. A loop of logic without
a register never gets to the next cycle.
"""
TRACED = 4
"""How many times as long it may take where coverage.py traces it."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise AssertionError within the ``with`` block once it has taken so much processor time."""

    def end(*_):
        raise AssertionError(f"the simulation has not ended after {seconds:g} s of processor time")

    if sys.gettrace():
        seconds *= TRACED
    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def simulate(
    design: Elaboratable, testbench: Callable[[SimulatorContext], Awaitable[None]], cycles: int = 50_000
) -> None:
    """Clock ``design`` until the testbench returns; AssertionError if that takes more than ``cycles``
    cycles, or `LIMIT`.
    """
    simulator = Simulator(design)
    simulator.add_clock(1e-6)
    ended = False

    async def run(context):
        nonlocal ended
        await testbench(context)
        ended = True

    simulator.add_testbench(run)
    with limited(LIMIT):
        for _ in range(cycles):
            simulator.advance()
            if ended:
                return
    raise AssertionError(f"the testbench did not end within {cycles} cycles")
