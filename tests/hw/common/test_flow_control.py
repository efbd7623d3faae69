import random

import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import stream

from haarlequin.hw.common.flow_control import counter, skid_buffer, stages
from tests.hw.bench import simulate


@pytest.mark.parametrize(("limit", "step"), [(1, 1), (5, 1), (7, 3), (6, 3), (7, 7), (2, 7), (1, 7)])
def test_nested_counters(limit, step):
    """An inner count within every number of an outer one, with pauses and without a reset."""
    generator = random.Random(limit)
    m, limits, enable = Module(), [Signal(range(8), init=limit), Signal(range(4), init=3)], Signal()
    inner, last_inner = counter(m, limits[0], enable, step)
    outer, last_outer = counter(m, limits[1], enable, inner=last_inner)
    seen = []

    async def testbench(context):
        expected = [(i, o) for o in range(3) for i in range(0, limit, step)] * 3
        await context.tick()
        while len(seen) < len(expected):
            context.set(enable, enabled := generator.random() < 0.6)
            i, o = expected[len(seen)]
            assert (context.get(inner), context.get(outer)) == (i, o)
            assert context.get(last_inner) == (i + step >= limit)
            assert context.get(last_outer) == (i + step >= limit and o == 2)
            if enabled:
                seen.append((i, o))
            await context.tick()
        assert seen == expected

    simulate(m, testbench)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_stages_move_together(count):
    generator = random.Random(count)
    m, value, move = Module(), Signal(signed(5)), Signal()
    stage = stages(m, move)
    late = stage(value) if count == 1 else stage(value, count)
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


@pytest.mark.parametrize(("offers", "takes"), [(1, 1), (0.5, 1), (1, 0.5), (0.5, 0.5), (0.9, 0.1)])
def test_a_skid_buffer_loses_nothing_and_keeps_up(offers, takes):
    generator = random.Random(round(10 * offers + takes))
    m, source = Module(), stream.Signature(8).create()
    out, sent, got = skid_buffer(m, source), [], []

    async def testbench(context):
        offered = None
        for cycle in range(400):
            if offered is None and generator.random() < offers:
                offered = generator.randrange(256)
            context.set(source.valid, offered is not None)
            context.set(source.payload, offered or 0)
            ready = context.get(source.ready)
            context.set(out.ready, taken := generator.random() < takes)
            assert context.get(source.ready) == ready, "it depends on who takes"
            if taken and context.get(out.valid):
                got.append(context.get(out.payload))
            if ready and offered is not None:
                sent.append(offered)
                offered = None
            await context.tick()
            if offers == takes == 1:
                assert len(got) == cycle
        assert got == sent[: len(got)]
        assert len(sent) - len(got) <= 2
        assert len(got) > 30

    simulate(m, testbench)
