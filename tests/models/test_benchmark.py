"""Rates of training: `haarlequin benchmark --train`."""

import pytest

from haarlequin.models import benchmark


@pytest.mark.slow
def test_only_the_first_way_has_brevitas_quantisers(monkeypatch):
    used = []
    monkeypatch.setattr(
        "haarlequin.models.benchmark.measure",
        lambda run, seconds: used.append({type(m).__module__ for m in run.model.modules()}) or {},
    )
    assert len(list(benchmark.training("digits", 8, "cpu", 0.1))) == 3
    assert ["haarlequin.models.training.plain" in modules for modules in used] == [False, True, True]


@pytest.mark.slow
def test_a_segmentation_network_is_timed_on_masks(monkeypatch):
    monkeypatch.setattr("haarlequin.models.training.step.compile_blocks", lambda model, on=True: None)
    ways = list(benchmark.training("camvid-8x6", 2, "cpu", 0.1))
    assert [rates.keys() for _, rates in ways] == [{"float", "deploy"}] * 3
