import random

import pytest

from haarlequin.hw.link.switch import LineSwitch
from tests.hw.bench import simulate


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("lines", [2, 3])
def test_each_line_gets_the_answers_to_what_it_said(lines, seed):
    """The accelerator answers each byte with three of its own, while the other lines are silent."""
    switch, dice = LineSwitch(lines), random.Random(seed)
    received = [getattr(switch, f"received_{line}") for line in range(lines)]
    to_send = [getattr(switch, f"to_send_{line}") for line in range(lines)]

    async def testbench(context):
        for _ in range(60):
            line, said, heard, left = dice.randrange(lines), dice.randrange(256), [], []
            context.set(received[line].valid, 1)
            context.set(received[line].payload, said)
            while len(heard) < 3:
                context.set(switch.rx.ready, dice.randrange(2))
                context.set(switch.tx.valid, bool(left) and dice.randrange(2))
                context.set(switch.tx.payload, left[0] if left else 0)
                for each in to_send:
                    context.set(each.ready, dice.randrange(2))
                if taken := context.get(switch.rx.valid) and context.get(switch.rx.ready):
                    assert context.get(received[line].ready)
                    assert context.get(switch.rx.payload) == said
                    left = [said, said ^ 1, said ^ 2]
                for number, each in enumerate(to_send):
                    if context.get(each.valid) and context.get(each.ready):
                        assert number == line
                        assert context.get(switch.tx.ready)
                        heard.append(context.get(each.payload))
                        left.pop(0)
                await context.tick()
                if taken:
                    context.set(received[line].valid, 0)
            assert heard == [said, said ^ 1, said ^ 2]

    simulate(switch, testbench)


def test_a_line_that_goes_on_keeps_the_accelerator():
    """And gives it up in the first cycle in which it has no byte while another one has."""
    switch = LineSwitch(2)

    async def testbench(context):
        context.set(switch.rx.ready, 1)
        for line in (switch.received_0, switch.received_1):
            context.set(line.valid, 1)
        context.set(switch.received_0.payload, 10)
        context.set(switch.received_1.payload, 11)
        for _ in range(20):
            assert (context.get(switch.rx.valid), context.get(switch.rx.payload)) == (1, 10)
            await context.tick()
        context.set(switch.received_0.valid, 0)
        assert not context.get(switch.rx.valid)
        await context.tick()
        context.set(switch.received_0.valid, 1)
        for _ in range(20):
            assert (context.get(switch.rx.valid), context.get(switch.rx.payload)) == (1, 11)
            await context.tick()

    simulate(switch, testbench)
