import random

import pytest
import torch

from haarlequin.hw.lanes.binary_lane import BinaryLane
from haarlequin.models import arithmetic
from tests.hw.bench import simulate


def signs(word: int, width: int) -> torch.Tensor:
    return torch.tensor([1 if word >> i & 1 else -1 for i in range(width)])


async def give_weights(context, lane: BinaryLane, weights: int, by_shifting: bool) -> None:
    """What shifting does not reach becomes 0."""
    if by_shifting:
        context.set(lane.shift, 1)
        for i in range(lane.value_bits):
            context.set(lane.begin, i == 0)
            context.set(lane.bit, weights >> lane.width - lane.value_bits + i & 1)
            await context.tick()
        context.set(lane.begin, 1)  # which means nothing without a shift
        context.set(lane.shift, 0)
    else:
        context.set(lane.load, 1)
        context.set(lane.weights, weights)
        await context.tick()
        context.set(lane.load, 0)


async def swap(context, lane: BinaryLane) -> None:
    context.set(lane.swap, 1)
    await context.tick()
    context.set(lane.swap, 0)


@pytest.mark.parametrize("width", [2, 6, 10, 64, 128])
@pytest.mark.parametrize("by_shifting", [False, True])
def test_dot_products(width, by_shifting):
    generator = random.Random(width)
    ones, half = (1 << width) - 1, width // 2
    inputs = [generator.getrandbits(width) for _ in range(30)] + [ones, 0, (1 << half) - 1]
    lane = BinaryLane(width, width)
    counts = []

    async def testbench(context):
        for weights in (generator.getrandbits(width), 0, ones):
            await give_weights(context, lane, weights, by_shifting)
            await swap(context, lane)
            counts.clear()
            for cycle in range(len(inputs) + lane.latency):
                if cycle >= lane.latency:
                    counts.append((context.get(lane.low), context.get(lane.high)))
                context.set(lane.activation, inputs[min(cycle, len(inputs) - 1)])
                context.set(lane.weights, generator.getrandbits(width))  # noise that nothing loads
                await context.tick()
            for activation, (low, high) in zip(inputs, counts, strict=True):
                different = activation ^ weights
                assert low == (different & (1 << half) - 1).bit_count()
                assert high == (different >> half).bit_count()
                dot = arithmetic.binary_linear(signs(activation, width), signs(weights, width)[None])
                assert width - 2 * (low + high) == dot.item()

    simulate(lane, testbench)


def test_the_next_weights_load_behind_the_current_ones():
    lane = BinaryLane(8, 8)

    async def testbench(context):
        context.set(lane.activation, 0xFF)
        await give_weights(context, lane, 0x0F, by_shifting=False)
        await swap(context, lane)
        await give_weights(context, lane, 0xFE, by_shifting=True)
        await context.tick().repeat(lane.latency)
        assert (context.get(lane.low), context.get(lane.high)) == (0, 4)
        await swap(context, lane)
        await context.tick().repeat(lane.latency)
        assert (context.get(lane.low), context.get(lane.high)) == (1, 0)

    simulate(lane, testbench)


@pytest.mark.parametrize("width", [0, 1, 7, 2.0])
def test_a_width_that_is_none(width):
    with pytest.raises(ValueError, match="BinaryLane width must be an even integer of at least 2, not "):
        BinaryLane(width, 1)


def test_the_first_value_makes_all_other_weights_0():
    lane = BinaryLane(8, 3)

    async def testbench(context):
        await give_weights(context, lane, 0b010_10011, by_shifting=False)
        await give_weights(context, lane, 0b110_00000, by_shifting=True)
        assert context.get(lane.following) == 0b110_00000

    simulate(lane, testbench)


@pytest.mark.parametrize(
    ("width", "bits", "values"), [(8, 8, 8), (8, 3, 3), (8, 3, 11), (2, 1, 4), (8, 5, 2)]
)
def test_ones_among_the_values_that_are_still_there(width, bits, values):
    """More values than the word has places push the first ones out, and fewer leave zeros below them."""
    generator = random.Random(width)
    lane = BinaryLane(width, bits)

    async def testbench(context):
        for drawn in (lambda: 1, lambda: generator.getrandbits(1), lambda: generator.getrandbits(1)):
            await give_weights(context, lane, generator.getrandbits(width), by_shifting=False)
            kept = [0] * bits
            for number in range(values):
                context.set(lane.shift, 1)
                context.set(lane.begin, number == 0)
                kept = [*kept[1:], drawn()]
                context.set(lane.bit, kept[-1])
                await context.tick()
                assert context.get(lane.ones) == sum(kept)
            context.set(lane.shift, 0)
            await give_weights(context, lane, generator.getrandbits(width), by_shifting=False)
            await swap(context, lane)
            assert context.get(lane.ones) == sum(kept)  # neither minds

    simulate(lane, testbench)


@pytest.mark.parametrize("bits", [0, 9, 2.0])
def test_a_number_of_values_that_is_none(bits):
    with pytest.raises(ValueError, match="BinaryLane value_bits must be an integer from 1 to 8, not "):
        BinaryLane(8, bits)
