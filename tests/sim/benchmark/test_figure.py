"""A figure, its mark, and how both are said."""

import pytest

from haarlequin.sim.benchmark.figure import Figure, Mark, rate, table


@pytest.mark.parametrize(
    ("mark", "met", "missed"), [(Mark(20.0), (20.0, 21.0), (19.99, 0)), (Mark(1, below=True), (0.9,), (1, 2))]
)
def test_a_mark_is_met_or_missed(mark, met, missed):
    assert all(mark.met(value) for value in met)
    assert not any(mark.met(value) for value in missed)


def test_a_mark_in_words():
    assert str(Mark(4000.0)) == "≥ 4,000"
    assert str(Mark(0.9, words="90%")) == "≥ 90%"
    assert str(Mark(1.0, below=True, words="1 s")) == "< 1 s"


def test_each_figure_is_a_line_with_its_mark():
    figures = [
        Figure("dsp", "DSP", 28, "28 of 28", of=28),
        Figure("busy", "busy", 0.795, "79.5%", Mark(0.9, words="90%")),
        Figure("s", "an image", 0.5, "0.5 s", Mark(1, below=True, words="1 s")),
    ]
    lines = [line.split() for line in table(figures).splitlines()]
    assert lines[0] == ["DSP", "28", "of", "28"]
    assert lines[1] == ["busy", "79.5%", "≥", "90%:", "missed"]
    assert lines[2] == ["an", "image", "0.5", "s", "<", "1", "s:", "met"]


def test_a_figure_as_json():
    assert Figure("dsp", "DSP", 28, "", of=56).as_json() == {"value": 28, "of": 56}
    found = Figure("busy", "busy", 0.795, "", Mark(0.9)).as_json()
    assert found == {"value": 0.795, "mark": {"at_least": 0.9, "met": False}}
    found = Figure("s", "an image", 0.5, "", Mark(1, below=True)).as_json()
    assert found == {"value": 0.5, "mark": {"below": 1, "met": True}}


def test_rates_have_the_digits_that_matter():
    assert [rate(images) for images in (5.66, 97.2, 100.4, 1957.3)] == ["5.7", "97.2", "100", "1,957"]
