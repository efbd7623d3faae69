import pytest

from haarlequin.sw.plan.machine import Machine
from haarlequin.sw.plan.timeline import Timeline, split


@pytest.fixture
def timeline():
    return Timeline(Machine(32, 128))


def test_split_rounds_up():
    assert [split(size, 32) for size in (1, 32, 33)] == [1, 1, 2]


def test_a_tile_streams_its_tokens_in_each_step(timeline):
    timeline.tile("output", 64, 3)
    (output,) = timeline.operations.values()
    assert (output.steps, output.finals, output.passes, output.cycles, output.waits) == (2, 1, 3, 192, 0)
    assert (timeline.final, timeline.now) == (128, 192)


def test_a_pass_takes_no_less_than_its_loads(timeline):
    timeline.tile("output", 4)
    assert timeline.now == 32


def test_what_a_tile_waits_for(timeline):
    timeline.tile("values", 64, 2, begin=10, final=[90, 80])
    assert timeline.final == 90
    assert timeline.operations["values"].waits == 10 + (90 - 74)


def test_runs_are_counted_when_the_operation_changes(timeline):
    for name in ("values", "values", "scores", "values"):
        timeline.tile(name, 64)
    assert {o.name: o.runs for o in timeline.operations.values()} == {"values": 2, "scores": 1}


def test_a_softmax_keeps_bank_a_and_the_next_softmax_waiting(timeline):
    """A row of two tiles takes four cycles, 16 lanes at once; it is looked up after the shortcuts."""
    m = timeline.machine
    ready = timeline.softmax("values", 64, 2)
    assert timeline.bank_a == 63 * 4 + 2 + 2
    assert ready == m.softmax + m.attention + 4 - 2 + 64 * 4 - 63
    timeline.softmax("values", 64, 2)
    assert timeline.now == m.attention + 4 - 2 + 64 * 4 + 1


def test_the_haar_unit_takes_one_tile_after_the_other(timeline):
    timeline.split_bands(146, copied=False)
    timeline.split_bands(146, copied=True)
    assert (timeline.haar, timeline.bank_b, timeline.bank_a) == (292, 149, 295)
