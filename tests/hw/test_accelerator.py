import pytest
from amaranth.hdl import ClockDomain, Elaboratable, Module, Signal

from haarlequin.hw.accelerator import Accelerator
from haarlequin.hw.link.protocol import Decoder, Frame, FrameType, encode
from haarlequin.hw.presets import CONFIGS
from tests.hw.bench import simulate
from tests.small_machines import SMALLEST

pytestmark = pytest.mark.slow

CLOCK_HZ = 1_000_000
TIMEOUT = 10_000
"""Longer than the test, so that a frame that was begun is not cut by itself."""


class _Board(Elaboratable):
    """An accelerator in a clock domain without a reset, and the button that resets it."""

    def __init__(self, config):
        self.button = Signal()
        self.accelerator = Accelerator(config, CLOCK_HZ, TIMEOUT, self.button)

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain(reset_less=True)
        m.submodules.accelerator = self.accelerator
        return m


@pytest.mark.parametrize("config", [SMALLEST, CONFIGS["scalar-43k"]], ids=lambda config: config.name)
def test_a_reset_where_the_clock_domain_has_none(config):
    """It ends the frame that was begun, and the lamp that tells of an error."""
    board = _Board(config)
    accelerator = board.accelerator
    flags = "link_valid", "link_rx", "link_tx", "answer_valid", "answer_last"
    assert [len(accelerator.trace[name]) for name in flags] == [1] * len(flags)
    unsealed, identify = Frame(FrameType.IMAGE, 1, payload=b"1"), Frame(FrameType.IDENTIFY, 2)

    async def testbench(context):
        async def send(content):
            for byte in content:
                context.set(accelerator.rx.payload, byte)
                context.set(accelerator.rx.valid, 1)
                while not context.get(accelerator.rx.ready):
                    await context.tick()
                await context.tick()
            context.set(accelerator.rx.valid, 0)

        async def answers(cycles):
            """Frames that come within so many cycles."""
            decoder, frames = Decoder(), []
            context.set(accelerator.tx.ready, 1)
            for _ in range(cycles):
                if context.get(accelerator.tx.valid):
                    frames += decoder.feed(bytes([context.get(accelerator.tx.payload)]))
                await context.tick()
            return frames

        await send(encode(unsealed))
        assert [frame.type for frame in await answers(60)] == [FrameType.ERROR]
        assert context.get(accelerator.error)
        await send(encode(unsealed)[:-3])
        context.set(board.button, 1)
        await context.tick()
        context.set(board.button, 0)
        await context.tick()  # the reset waits in a register
        assert not context.get(accelerator.error)
        await send(encode(identify))
        (frame,) = await answers(1000)
        assert (frame.type, frame.sequence) == (FrameType.IDENTITY, 2)

    simulate(board, testbench)
