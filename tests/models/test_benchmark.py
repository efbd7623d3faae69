"""`haarlequin benchmark`."""

import pytest

from haarlequin.models import benchmark


@pytest.mark.slow
def test_training_is_timed_in_both_phases_each_way(monkeypatch, capsys):
    monkeypatch.setattr("haarlequin.models.training.step.compile_blocks", lambda model, on=True: None)
    benchmark.main(["digits", "--train", "--batch", "8", "--seconds", "0.1", "--device", "cpu"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        "digits, Brevitas' quantisers",
        "digits, plain functions",
        "digits, compiled blocks",
    ]
    for line in lines:
        rates = line.partition(": ")[2].removesuffix(" images/s").split(", ")
        assert [rate.split()[0] for rate in rates] == ["float", "deploy"]
        assert all(int(rate.split()[1]) > 0 for rate in rates)


@pytest.mark.slow
def test_only_the_first_way_has_brevitas_quantisers(monkeypatch):
    used = []
    monkeypatch.setattr(
        "haarlequin.models.training.speed.measure",
        lambda run, seconds: used.append({type(m).__module__ for m in run.model.modules()}) or {},
    )
    assert len(list(benchmark.training("digits", 8, "cpu", 0.1))) == 3
    assert ["haarlequin.models.training.plain" in modules for modules in used] == [False, True, True]


@pytest.mark.slow
def test_a_segmentation_network_is_timed_on_masks(monkeypatch):
    monkeypatch.setattr("haarlequin.models.training.step.compile_blocks", lambda model, on=True: None)
    ways = list(benchmark.training("camvid-8x6", 2, "cpu", 0.1))
    assert [rates.keys() for _, rates in ways] == [{"float", "deploy"}] * 3
