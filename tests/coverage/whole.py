"""The models that the tests simulate, once more: on machines that say which statements were in force."""

from pathlib import Path

from haarlequin.hw.config import AnyConfig
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.common.places import build_folder
from haarlequin.sim.simulate import Job, simulate
from haarlequin.sw.verilated import build
from tests.coverage.rtl import SINK, Covered, Lines
from tests.sim.test_simulate import assert_exact, scalar_jobs, small_jobs
from tests.small_machines import MACHINES, SIMULATED


def names() -> list[str]:
    """The machines that the tests simulate."""
    return [*SIMULATED, "scalar"]


def lines(name: str) -> Lines:
    """The statements that were in force while a machine ran its models."""
    if name == "scalar":
        return _simulated(CONFIGS[name], scalar_jobs(0), 0, 0)
    return _simulated(MACHINES[name], small_jobs(name), *SIMULATED[name])


def _simulated(machine: AnyConfig, jobs: list[Job], gaps: int, stalls: int) -> Lines:
    folder: Path = build_folder("coverage", machine.name).absolute()
    design = Covered(machine, folder.with_suffix(".bits"))
    build.build(design, folder, notice=print, sources={"coverage_sink.v": SINK})
    design.file.unlink(missing_ok=True)
    assert_exact(jobs, simulate(folder, jobs, gaps, stalls))
    return design.lines()
