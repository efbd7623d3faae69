import random

import pytest

from haarlequin.hw.lanes.popcount import Popcount, full_adder_levels
from tests.hw.bench import simulate


@pytest.mark.parametrize("width", [1, 2, 3, 4, 7, 8, 31, 32, 64, 127])
def test_it_counts_every_cycle(width):
    generator = random.Random(width)
    words = [0, (1 << width) - 1, *(1 << i for i in range(width))]
    words += [generator.getrandbits(width) for _ in range(50)]
    design = Popcount(width)

    async def testbench(context):
        for cycle in range(len(words) + design.latency):
            if cycle >= design.latency:
                word = words[cycle - design.latency]
                assert context.get(design.count) == word.bit_count(), f"{word:b}"
            context.set(design.bits, words[min(cycle, len(words) - 1)])
            await context.tick()

    simulate(design, testbench)


@pytest.mark.parametrize(("width", "cycles"), [(2, 1), (6, 1), (9, 2), (19, 3), (42, 4), (64, 5)])
def test_cycles_of_two_levels_each(width, cycles):
    """Trees of 0, 1, 2, 4, 6 and 9 levels, and the sum."""
    assert Popcount(width).latency == cycles


@pytest.mark.parametrize("width", [1, 5, 64, 128])
def test_the_tree_keeps_every_weight(width):
    """The heights of the stacks still reach ``width`` at every level."""
    for heights in full_adder_levels(width):
        assert sum(height << weight for weight, height in enumerate(heights)) >= width
    assert max((full_adder_levels(width) or [[2]])[-1]) <= 2


@pytest.mark.parametrize("width", [0, -1, 1.0, "8"])
def test_a_width_that_is_none(width):
    with pytest.raises(ValueError, match=r"Popcount width must be a positive integer, not "):
        Popcount(width)
