import random

import pytest

from haarlequin.hw.common.counters import Counters
from tests.hw.bench import simulate


def rtl(block, cycles):
    """The answer of each cycle, given the (index, addr) of each."""
    answers = []

    async def testbench(context):
        for index, addr in cycles:
            context.set(block.index, index)
            context.set(block.addr, addr)
            answers.append(context.get(block.answer))
            await context.tick()
        answers.append(context.get(block.answer))

    simulate(block, testbench)
    return answers[1:]


def golden(count, bits, cycles):
    counters, answers = [0] * count, []
    for index, addr in cycles:
        answers.append(counters[addr])
        counters[index] = (counters[index] + 1) % (1 << bits)
    return answers


@pytest.mark.parametrize(("count", "bits"), [(1, 1), (1, 7), (2, 3), (7, 4), (10, 32), (16, 5)])
@pytest.mark.parametrize("stays", [0, 0.9])
def test_cycles_counted_and_read_at_once(count, bits, stays):
    """In runs of one index and one by one, far enough for the narrow ones to wrap around."""
    generator = random.Random(count)
    cycles = [(0, 0)]
    for _ in range(1000):
        index = cycles[-1][0] if generator.random() < stays else generator.randrange(count)
        cycles.append((index, generator.choice([index, generator.randrange(count)])))
    assert rtl(Counters(count, bits), cycles) == golden(count, bits, cycles)


def test_every_counter_ends_where_its_cycles_do():
    spent = [0, 1, 2, 31, 40]
    cycles = [(index, 0) for index, n in enumerate(spent) for _ in range(n)]
    answers = rtl(Counters(5, 6), [*cycles, *((0, addr) for addr in reversed(range(5)))])
    assert answers[-5:] == [40, 31, 2, 1, 4]  # the reading is counted in the first one


@pytest.mark.parametrize("argument", ["count", "bits"])
@pytest.mark.parametrize("value", [0, -3, 2.0, "4"])
def test_a_size_that_is_none(argument, value):
    with pytest.raises(ValueError, match=rf"Counters {argument} must be a positive integer, not {value!r}"):
        Counters(**{"count": 2, "bits": 8} | {argument: value})
