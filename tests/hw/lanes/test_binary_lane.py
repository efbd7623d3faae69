import random

import pytest
import torch

from haarlequin.hw.lanes.binary_lane import BinaryLane
from haarlequin.models import arithmetic
from tests.hw.bench import simulate


def signs(word: int, width: int) -> torch.Tensor:
    return torch.tensor([1 if word >> i & 1 else -1 for i in range(width)])


async def give_weights(context, lane: BinaryLane, weights: int, by_shifting: bool) -> None:
    if by_shifting:
        context.set(lane.shift, 1)
        for i in range(lane.value_bits):
            context.set(lane.bit, weights >> lane.width - lane.value_bits + i & 1)
            await context.tick()
        context.set(lane.shift, 0)
    else:
        context.set(lane.load, 1)
        context.set(lane.weights, weights)
        await context.tick()
        context.set(lane.load, 0)


@pytest.mark.parametrize("width", [2, 6, 10, 64, 128])
@pytest.mark.parametrize("by_shifting", [False, True])
def test_masked_dot_products(width, by_shifting):
    generator = random.Random(width)
    ones, half = (1 << width) - 1, width // 2
    inputs = [(generator.getrandbits(width), generator.getrandbits(width)) for _ in range(30)]
    inputs += [(ones, ones), (0, ones), (ones, 0), (generator.getrandbits(width), ones)]
    inputs += [(ones, generator.getrandbits(width))]  # the context's use: a mask of Â, an activation of ones
    lane = BinaryLane(width, width)
    counts = []

    async def testbench(context):
        for weights in (generator.getrandbits(width), 0, ones):
            await give_weights(context, lane, weights, by_shifting)
            context.set(lane.swap, 1)
            await context.tick()
            context.set(lane.swap, 0)
            counts.clear()
            for cycle in range(len(inputs) + lane.latency):
                if cycle >= lane.latency:
                    counts.append((context.get(lane.low), context.get(lane.high)))
                activation, mask = inputs[min(cycle, len(inputs) - 1)]
                context.set(lane.activation, activation)
                context.set(lane.mask, mask)
                context.set(lane.weights, generator.getrandbits(width))  # noise that nothing loads
                await context.tick()
            for (activation, mask), (low, high) in zip(inputs, counts, strict=True):
                agreements = ~(activation ^ weights) & mask & ones
                assert low == (agreements & (1 << half) - 1).bit_count()
                assert high == (agreements >> half).bit_count()
                masked = signs(activation, width) * (signs(mask, width) > 0)
                dot = arithmetic.binary_linear(masked, signs(weights, width)[None])
                assert 2 * (low + high) - mask.bit_count() == dot.item()

    simulate(lane, testbench)


def test_the_next_weights_load_behind_the_current_ones():
    lane = BinaryLane(8, 8)

    async def testbench(context):
        context.set(lane.activation, 0xFF)
        context.set(lane.mask, 0xFF)
        await give_weights(context, lane, 0x0F, by_shifting=False)
        context.set(lane.swap, 1)
        await context.tick()
        context.set(lane.swap, 0)
        await give_weights(context, lane, 0xFE, by_shifting=True)
        await context.tick().repeat(lane.latency)
        assert (context.get(lane.low), context.get(lane.high)) == (4, 0)
        context.set(lane.swap, 1)
        await context.tick()
        context.set(lane.swap, 0)
        await context.tick().repeat(lane.latency)
        assert (context.get(lane.low), context.get(lane.high)) == (3, 4)

    simulate(lane, testbench)


@pytest.mark.parametrize("width", [0, 1, 7, 2.0])
def test_a_width_that_is_none(width):
    with pytest.raises(ValueError, match="BinaryLane width must be an even integer of at least 2, not "):
        BinaryLane(width, 1)


def test_few_values_leave_the_other_weights():
    lane = BinaryLane(8, 3)

    async def testbench(context):
        await give_weights(context, lane, 0b010_10011, by_shifting=False)
        await give_weights(context, lane, 0b110_00000, by_shifting=True)
        assert context.get(lane.following) == 0b110_10011

    simulate(lane, testbench)


@pytest.mark.parametrize("bits", [0, 9, 2.0])
def test_a_number_of_values_that_is_none(bits):
    with pytest.raises(ValueError, match="BinaryLane value_bits must be an integer from 1 to 8, not "):
        BinaryLane(8, bits)
