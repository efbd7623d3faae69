import random

import pytest

from haarlequin.hw.link.stuffer import Stuffer
from haarlequin.hw.link.stuffing import stuffed
from tests.hw.bench import simulate
from tests.hw.link.test_stuffing import said


@pytest.mark.parametrize("seed", range(4))
def test_the_block_sends_what_the_function_says(seed):
    """With a pause before any byte, on either side."""
    block, dice, data = Stuffer(), random.Random(seed), said(seed)

    async def testbench(context):
        left, came = list(data), b""
        while len(came) < len(stuffed(data)):
            offers = bool(left) and (context.get(block.said.valid) or dice.random() < 0.7)
            context.set(block.said.valid, offers)
            context.set(block.said.payload, left[0] if offers else dice.randrange(256))
            context.set(block.line.ready, dice.random() < 0.7)
            if context.get(block.line.valid) and context.get(block.line.ready):
                came += bytes([context.get(block.line.payload)])
            taken = offers and context.get(block.said.ready)
            await context.tick()
            if taken:
                left.pop(0)
                context.set(block.said.valid, 0)
        assert came == stuffed(data)
        assert not left

    simulate(block, testbench)
