"""Figures of the simulated accelerator: how fast it computes images, and all tensors are compared."""

import time
from dataclasses import dataclass
from typing import Any

from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.files import say
from haarlequin.models.common.places import build_folder
from haarlequin.sim.benchmark.figure import MODEL, SIMULATED_SECONDS, Figure, Mark, table
from haarlequin.sim.simulate import Job, expect, faults_of_job, simulate, simulator
from haarlequin.sim.workload import workload
from haarlequin.sw.resolve import machine_for
from haarlequin.sw.targets import compile_model
from haarlequin.sw.verilated.build import STAMP, SimulationError

CYCLES = 200_000
"""Cycles of an array to simulate at least, for a rate that a pause of the computer does not change."""


class NotBuilt(UsageError):
    """A simulator is not there yet; the message is the command that builds it."""


@dataclass(frozen=True)
class SimulatorFigures:
    """The figures of a simulated accelerator with a model."""

    model: str
    config: str
    images: int
    figures: list[Figure]

    def __str__(self) -> str:
        title = f"simulator of {self.config}: {self.model}, {self.images} images, every tensor compared"
        return f"{title}\n{table(self.figures)}"

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        figures = {each.key: each.as_json() for each in self.figures}
        return {"config": self.config, "images": self.images, "figures": figures}


def figures_of(name: str, build: bool) -> SimulatorFigures:
    """Run a model in the simulator of its usual accelerator, compare every tensor, and time that. ``build``
    says whether a simulator that is missing is built.

    The seconds of an image are those of its golden tensors, of its cycles, and of the comparison; what is
    done once, to start the simulator and load the tables, has a figure of its own.

    Raises:
        NotBuilt: the simulator is missing, and is not to be built.
        UsageError: no accelerator runs the model.
        SimulationError: an image differs from the golden model.
    """
    one = workload(name, [], 1)
    machine = machine_for(one.model, None)
    command = f"make sim MODEL={name} CONFIG={machine.name}"

    def refuse(line: str) -> None:
        raise NotBuilt(command)  # it is told a line only where it would have to build, or to wait for a build

    simulators = build_folder("sim")
    if not (build or (simulators / machine.name / STAMP).exists()):
        raise NotBuilt(command)  # at once; whether one that is there is still right takes some seconds
    folder = simulator(machine, simulators, notice=say if build else refuse)
    say(f"simulating {name} on {machine.name}: seconds to a minute")
    program = compile_model(one.model, machine, check=False)  # the simulation compares all of it
    what = workload(name, [], max(2, -(-CYCLES // program.cycles)))
    began = time.perf_counter()
    expected = expect(what.model, what.pixels)
    golden = (time.perf_counter() - began) / len(expected)
    job = Job(program, what.pixels, expected)
    began = time.perf_counter()
    (outcome,) = simulate(folder, [job])
    whole = time.perf_counter() - began
    if faults := faults_of_job(job, outcome):
        raise SimulationError(f"{name} on {machine.name}: {faults[0]}")
    running, comparing = outcome.running_seconds, outcome.comparing_seconds
    count = len(what.pixels)
    speed = outcome.running_cycles / running
    per_image, once = golden + (running + comparing) / count, whole - running - comparing
    mark = Mark(SIMULATED_SECONDS, below=True, words=f"{SIMULATED_SECONDS:g} s") if name == MODEL else None
    figures = [
        Figure("cycles_per_second", "cycles/s", speed, f"{speed:,.0f}"),
        Figure("seconds_per_image", "an image", per_image, f"{per_image:.3g} s", mark),
        Figure("seconds_once", "before the first image", once, f"{once:.3g} s"),
    ]
    return SimulatorFigures(name, machine.name, count, figures)
