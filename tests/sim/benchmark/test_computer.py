"""The golden model, onnxruntime and PyTorch beside each other."""

import numpy as np
import pytest

from haarlequin.sim.benchmark import computer
from haarlequin.sim.benchmark.computer import ComputerFigures, Differs, measure

pytestmark = pytest.mark.slow

PIXELS = np.zeros((4, 8, 8, 1), np.uint8)


@pytest.fixture
def clock(monkeypatch):
    """A clock that only `way` moves on, in place of the computer's."""
    now = [0.0]
    monkeypatch.setattr(computer.time, "perf_counter", lambda: now[0])
    return now


def way(clock, seconds=(), answer=0):
    """A way that takes 7 s for its first call, then ``seconds``, and always gives the same answer."""
    waits = iter([7, *seconds])

    def compute(pixels):
        clock[0] += next(waits, 0)
        return np.full(len(pixels), answer)

    return compute


def test_the_rate_is_the_median_of_the_rounds(clock):
    """A round in which the computer was busy does not count, nor does the first call of a way."""
    ways = {"golden": way(clock, [9, 2, 60, 2]), "slower": way(clock, [4, 8, 5])}
    assert measure(ways, PIXELS, rounds=3) == {"golden": 4 / 2, "slower": 4 / 5}


def test_ways_take_turns():
    """So that other work on the computer slows all of them."""
    order = []
    ways = {name: lambda pixels, name=name: order.append(name) or np.zeros(4) for name in ("golden", "b")}
    measure(ways, PIXELS, rounds=3)
    assert order[-6:] == ["golden", "b"] * 3


def test_other_logits_are_an_error(clock):
    ways = {"golden": way(clock), "wrong": way(clock, answer=1)}
    with pytest.raises(Differs, match="digits: wrong gives other logits than the golden model"):
        measure(ways, PIXELS, rounds=1, name="digits")


@pytest.mark.parametrize("name", ["digits", "camvid-8x6"])
def test_trained_models_and_presets_are_computed_in_three_ways(name, monkeypatch):
    """With equal logits, or `Differs` would be raised: `camvid-8x6` has random weights, and masks."""
    monkeypatch.setattr(computer, "IMAGES", 2)
    monkeypatch.setattr(computer, "ROUNDS", 1)
    found = computer.figures_of(name, {})
    assert list(found.rates) == ["golden", "onnxruntime", "PyTorch"]
    assert all(images > 0 for images in found.rates.values())


def test_ratios_to_the_golden_model_and_to_each_array():
    found = ComputerFigures("digits", {"golden": 200.0, "PyTorch": 50.0}, {"icebreaker": 5.0})
    title, head, golden, pytorch = str(found).splitlines()
    assert title.startswith("this computer: digits, 32 images with equal logits, ")
    assert head.split() == ["images/s", "of", "golden", "of", "icebreaker"]
    assert golden.split() == ["golden", "200", "1", "40"]
    assert pytorch.split() == ["PyTorch", "50.0", "0.25", "10"]
    ways = found.as_json()["ways"]
    assert ways["PyTorch"] == {"images_per_second": 50.0, "of": {"golden": 0.25, "icebreaker": 10.0}}
