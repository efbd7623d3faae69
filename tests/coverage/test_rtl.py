"""The measure of the RTL's coverage says which branches were in force, and by whom it was seen."""

from amaranth.hdl import Fragment
from amaranth.sim import Simulator

from haarlequin.hw.link.protocol import Frame, FrameType, encode
from haarlequin.hw.link.receiver import FrameReceiver
from tests.coverage.rtl import instrument


def covered(data: bytes) -> tuple[set, set]:
    """(lines of a receiver's branches, those that were in force) for these bytes, and silence after them."""
    receiver = FrameReceiver(timeout=8)
    fragment = Fragment.get(receiver, None)
    branches, _ = instrument(fragment)
    found = set()

    async def testbench(ctx):
        ctx.set(receiver.proceed, 1)
        for byte in data:
            ctx.set(receiver.rx.payload, byte)
            ctx.set(receiver.rx.valid, 1)
            await ctx.tick().until(receiver.rx.ready)
        ctx.set(receiver.rx.valid, 0)
        await ctx.tick().repeat(20)
        for branch in branches:
            if ctx.get(branch.covered):
                found.update(branch.lines)

    simulator = Simulator(fragment)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return set().union(*(branch.lines for branch in branches)), found


def test_branches_are_covered_once_they_are_in_force():
    frame = encode(Frame(FrameType.LOAD, payload=b"abc"))
    known, silent = covered(b"")
    _, cut = covered(frame[:-3])
    _, whole = covered(frame)
    assert all(path == "hw/link/receiver.py" for path, _ in known)
    assert silent < whole < whole | cut <= known
    assert silent < cut
    assert known - (whole | cut)  # a frame without payload has branches of its own
