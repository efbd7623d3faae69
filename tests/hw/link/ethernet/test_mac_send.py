import random

from haarlequin.hw.link.ethernet.mac_send import GAP, MacSender
from haarlequin.sim.ethernet.packets import line
from tests.hw.bench import simulate


def sent(frames, wait=lambda: False):
    """The bytes on the line, frame by frame, and the gaps between them."""
    dut, came, gaps = MacSender(), [], []

    async def testbench(context):
        data, gap = bytearray(), 0

        async def tick():
            nonlocal gap
            await context.tick()
            if context.get(dut.line.valid):
                if gap:
                    gaps.append(gap)
                data.append(context.get(dut.line.data))
                gap = 0
                return
            gap += 1
            if data:
                came.append(bytes(data))
                data.clear()

        for frame in frames:
            while wait():
                await tick()
            for at, byte in enumerate(frame):
                context.set(dut.frame.p.data, byte)
                context.set(dut.frame.p.last, at == len(frame) - 1)
                context.set(dut.frame.valid, 1)
                while not context.get(dut.frame.ready):
                    await tick()
                await tick()
            context.set(dut.frame.valid, 0)
        for _ in range(100):
            await tick()

    simulate(dut, testbench)
    return came, gaps[1:]


def test_frames_of_all_lengths_are_filled_up_and_checked():
    frames = [random.Random(size).randbytes(size) for size in (1, 14, 42, 59, 60, 61, 64, 300, 1514)]
    came, gaps = sent(frames)
    assert came == [line(frame) for frame in frames]
    assert min(gaps) >= GAP
    assert max(gaps) <= GAP + 2


def test_nothing_depends_on_when_a_frame_comes():
    dice = random.Random(1)
    frames = [dice.randbytes(50) for _ in range(20)]
    came, gaps = sent(frames, wait=lambda: dice.random() < 0.9)
    assert came == [line(frame) for frame in frames]
    assert min(gaps) >= GAP
