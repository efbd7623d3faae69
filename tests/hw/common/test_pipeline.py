"""Delays by exact numbers of cycles, and what a reset does to them."""

import random

import pytest
from amaranth.hdl import Module, ResetInserter, Signal, signed
from amaranth.lib import data

from haarlequin.hw.common.pipeline import GROUP, lane_groups, lane_words, registered, spread, streamed
from tests.hw.bench import simulate

VALUES = [3, -7, 0, 15, -16, 1, -1, 9, 2, -3]


def seen(m, value, delayed, given=VALUES):
    """Give one value a cycle, and return the delayed values of each cycle."""
    found = []

    async def testbench(context):
        for number in given:
            context.set(value, number)
            found.append([context.get(each) for each in delayed])
            await context.tick()

    simulate(m, testbench)
    return found


@pytest.mark.parametrize("delay", [registered, streamed])
def test_a_value_comes_as_many_cycles_later_with_its_sign(delay):
    m, value = Module(), Signal(signed(5))
    late = [delay(m, value), *(delay(m, value, cycles) for cycles in range(4))]
    assert late[1] is value
    for cycle, got in enumerate(seen(m, value, late)):
        assert got == [VALUES[cycle - n] if cycle >= n else 0 for n in (1, 0, 1, 2, 3)]


def test_the_delay_of_a_view_is_a_view():
    m, value = Module(), Signal(data.StructLayout({"a": 4, "b": signed(3)}))
    late = registered(m, value, 2)
    assert late.shape() == value.shape()
    found = seen(m, value, [late.b], [{"a": 9, "b": -2}, {"a": 1, "b": 3}, {"a": 0, "b": 0}])
    assert found == [[0], [0], [-2]]


def test_a_reset_clears_what_is_registered_and_leaves_what_is_streamed():
    inner, value, reset = Module(), Signal(4), Signal()
    late = registered(inner, value), streamed(inner, value)
    m, found = Module(), []
    m.submodules.inner = ResetInserter(reset)(inner)

    async def testbench(context):
        for number, resets in ((5, 0), (6, 1), (7, 0)):
            context.set(value, number)
            context.set(reset, resets)
            await context.tick()
            found.append(tuple(context.get(each) for each in late))

    simulate(m, testbench)
    assert found == [(5, 5), (0, 6), (7, 7)]


@pytest.mark.parametrize("lanes", [1, 2, 5, 9])
def test_every_lane_gets_its_word_while_the_next_ones_load(lanes):
    """Loads may begin in the cycle in which the words before are taken, and pause."""
    generator = random.Random(lanes)
    m, word, load, take = Module(), Signal(signed(9)), Signal(), Signal()
    words = lane_words(m, word, lanes, load, take)

    async def testbench(context):
        chain, own, taken = [None] * lanes, [None] * lanes, None
        for pause in (0.0, 0.0, 0.5, 0.3, 0.0):
            drawn, left = [generator.randint(-256, 255) for _ in range(lanes)], lanes
            while left:
                begins, loads = left == lanes, generator.random() >= pause
                context.set(take, begins)
                context.set(load, loads)
                context.set(word, drawn[-left] if loads else generator.randint(-256, 255))
                before = list(chain)
                if loads:
                    chain, left = [*chain[1:], drawn[-left]], left - 1
                await context.tick()
                own, taken = taken or own, before if begins else None
                if None not in own:
                    assert [context.get(each) for each in words] == own
        context.set(load, 0)
        context.set(take, 1)
        await context.tick().repeat(2)
        assert [context.get(each) for each in words] == drawn

    simulate(m, testbench)


@pytest.mark.parametrize("lanes", [1, GROUP, GROUP + 1, 3 * GROUP])
def test_lanes_of_a_group_share_a_register(lanes):
    m, value = Module(), Signal(signed(5))
    copies = spread(m, value, lanes)
    assert [[copies[lane] for lane in group] for group in lane_groups(lanes)] == [
        [copies[group.start]] * len(group) for group in lane_groups(lanes)
    ]
    assert len({id(copy) for copy in copies}) == len(lane_groups(lanes)) == -(-lanes // GROUP)
    assert seen(m, value, copies) == [[number] * lanes for number in [0, *VALUES[:-1]]]
