"""The frame receiver comes back to its search, from whatever state, once no byte comes any more."""

from amaranth.hdl import Mux, Signal

from haarlequin.hw.link.receiver import FrameReceiver
from tests.formal.design import Design

TIMEOUT = 8
PATIENCE = 4
"""The link's ``proceed`` comes after at most so many cycles of ``begun`` or ``ended``."""

STATES = 6
BOUND = TIMEOUT + 2 * PATIENCE
"""Cycles until the search goes on: both waits for the link, and the silence between them."""


def receiver(bound: int = BOUND, timeout: int = TIMEOUT) -> Design:
    """A receiver that gets no byte. It is to begin with any values in all registers."""
    block = FrameReceiver(timeout)
    design = Design(block)
    state, m = design.signal("fsm_state"), design.m
    waits, cycles = Signal(range(PATIENCE + 1)), Signal(range(bound + 1))
    asked = block.begun | block.ended
    m.d.sync += [waits.eq(Mux(asked & ~block.proceed, waits + 1, 0)), cycles.eq(cycles + (cycles != bound))]
    design.assume(state < STATES)
    design.assume(~block.rx.valid)
    design.assume(block.proceed | ~asked | (waits < PATIENCE - 1))
    design.never("not searching", (cycles == bound) & (state != 0))
    return design
