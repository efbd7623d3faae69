"""How fast the simulated accelerator is, and what is said where it is missing or wrong."""

from dataclasses import replace
from pathlib import Path

import pytest

from haarlequin.models.common.errors import UsageError
from haarlequin.sim.benchmark import simulator
from haarlequin.sim.benchmark.simulator import NotBuilt, figures_of
from haarlequin.sim.simulate import Outcome, Result
from haarlequin.sw.verilated.build import STAMP, SimulationError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]


def test_digits_in_the_real_simulator(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(simulator, "CYCLES", 20_000)
    found = figures_of("digits", build=True)
    assert (found.config, found.images) == ("16x64", 5)
    got = {each.key: each.value for each in found.figures}
    assert list(got) == ["cycles_per_second", "seconds_per_image", "seconds_once"]
    assert 1000 < got["cycles_per_second"] < 1e7
    assert 4918 / got["cycles_per_second"] < got["seconds_per_image"] < 10
    assert got["seconds_once"] > 0
    assert not any(each.mark for each in found.figures)
    assert "simulator of 16x64: digits, 5 images, every tensor compared" in str(found)


@pytest.fixture
def simulated(monkeypatch, tmp_path):
    """In place of the simulator: results as they must be, in known times. What is put into ``change`` changes
    each result.
    """
    change = {}

    def simulate(folder, jobs):
        (job,) = jobs
        results = [
            replace(
                Result(
                    expected.trace["logits"][0].tolist(), job.program.cycles, expected.saturations, 0, None
                ),
                **change,
            )
            for expected in job.expected
        ]
        counters = {each.name: len(results) * each.cycles for each in job.program.operations()}
        return [Outcome(results, counters, 0, 999, 30_000, 0.5, 0.25)]

    monkeypatch.setattr(simulator, "simulate", simulate)
    monkeypatch.setattr(simulator, "simulator", lambda machine, folder, notice: tmp_path)
    monkeypatch.setenv("HAARLEQUIN_BUILD", str(tmp_path))
    (tmp_path / "sim" / "16x64").mkdir(parents=True)
    (tmp_path / "sim" / "16x64" / STAMP).touch()
    monkeypatch.setattr(simulator, "CYCLES", 10_000)
    return change


def test_an_image_takes_its_tensors_its_cycles_and_their_comparison(simulated):
    found = figures_of("digits", build=False)
    got = {each.key: each.value for each in found.figures}
    assert found.images == 3
    assert got["cycles_per_second"] == pytest.approx(30_000 / 0.5)
    assert got["seconds_per_image"] > (0.5 + 0.25) / 3
    assert found.as_json()["config"] == "16x64"


def test_the_mark_is_for_the_model_that_it_names(simulated, monkeypatch):
    monkeypatch.setattr(simulator, "MODEL", "digits")
    (mark,) = [each.mark for each in figures_of("digits", build=False).figures if each.mark]
    assert str(mark) == "< 1 s"


def test_a_wrong_result_is_an_error(simulated):
    simulated["cycles"] = 1
    with pytest.raises(SimulationError, match="digits on 16x64: image 0: cycles: predicted 4918, took 1"):
        figures_of("digits", build=False)


def test_a_simulator_that_is_missing_is_not_built(monkeypatch, tmp_path):
    """And nothing is left of what would have been."""
    monkeypatch.setenv("HAARLEQUIN_BUILD", str(tmp_path))
    with pytest.raises(NotBuilt, match="make sim MODEL=digits CONFIG=16x64"):
        figures_of("digits", build=False)
    assert not list(tmp_path.glob("sim/16x64*"))


def test_a_simulator_of_other_sources_is_not_built_again(monkeypatch, tmp_path):
    monkeypatch.setenv("HAARLEQUIN_BUILD", str(tmp_path))
    (tmp_path / "sim" / "16x64").mkdir(parents=True)
    (tmp_path / "sim" / "16x64" / STAMP).write_text("{}")

    def build(machine, folder, notice):
        notice("building")
        pytest.fail("it went on")

    monkeypatch.setattr(simulator, "simulator", build)
    with pytest.raises(NotBuilt, match="make sim MODEL=digits CONFIG=16x64"):
        figures_of("digits", build=False)


def test_a_model_that_no_accelerator_runs():
    with pytest.raises(UsageError, match="cifar10-windows shifts its windows"):
        figures_of("cifar10-windows", build=False)
