"""Delays by exact numbers of cycles, and what a reset does to them."""

import pytest
from amaranth.hdl import Module, ResetInserter, Signal, signed
from amaranth.lib import data

from haarlequin.hw.common.pipeline import chained, registered, streamed
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


def test_a_single_lane_has_its_word_at_once():
    word = Signal(3)
    assert chained(Module(), word, 1) == [word]


@pytest.mark.parametrize("lanes", [2, 5])
def test_every_lane_has_its_word_once_all_have_come(lanes):
    m, word = Module(), Signal(signed(5))
    words = chained(m, word, lanes)
    assert len(words) == lanes
    assert seen(m, word, words)[lanes - 1] == VALUES[:lanes]
