import random

import pytest
from amaranth.hdl import Module, Signal, signed

from hw.serial import counter, stages

from .bench import simulate


@pytest.mark.parametrize(("limit", "step"), [(1, 1), (5, 1), (7, 3), (6, 3), (7, 7), (2, 7), (1, 7)])
def test_nested_counters(limit, step):
    """An inner count within every number of an outer one, with pauses and without a reset."""
    generator = random.Random(limit)
    m, limits, enable = Module(), [Signal(range(8), init=limit), Signal(range(4), init=3)], Signal()
    inner, ends_inner = counter(m, limits[0], enable, step)
    outer, ends_outer = counter(m, limits[1], ends_inner)
    seen = []

    async def testbench(context):
        expected = [(i, o) for o in range(3) for i in range(0, limit, step)] * 3
        while len(seen) < len(expected):
            context.set(enable, enabled := generator.random() < 0.6)
            if enabled:
                i, o = expected[len(seen)]
                seen.append((context.get(inner), context.get(outer)))
                assert context.get(ends_inner) == (i + step >= limit)
                assert context.get(ends_outer) == (i + step >= limit and o == 2)
            else:
                assert not (context.get(ends_inner) | context.get(ends_outer))
            await context.tick()
        assert seen == expected

    simulate(m, testbench)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_stages_move_together(count):
    generator = random.Random(count)
    m, value, move = Module(), Signal(signed(5)), Signal()
    late = stages(m, move)(value, count)
    sent = [0] * count

    async def testbench(context):
        for _ in range(100):
            context.set(move, moving := generator.random() < 0.5)
            context.set(value, number := generator.randrange(-16, 16))
            assert context.get(late) == sent[-count]
            if moving:
                sent.append(number)
            await context.tick()

    simulate(m, testbench)
