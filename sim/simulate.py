"""Run models and images through a Verilated accelerator, and compare the results with the golden model."""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from haarlequin.hw.accelerator import Accelerator
from haarlequin.hw.codes import OperationCode
from haarlequin.hw.config import AcceleratorConfig, AnyConfig
from haarlequin.hw.link.identity import Identity
from haarlequin.hw.link.protocol import COUNTERS_MEMORY, encode
from haarlequin.models import arithmetic
from haarlequin.models.golden import GoldenModel, Trace
from haarlequin.sim import faults
from haarlequin.sim.compare_trace import Events, compare
from haarlequin.sw import answers
from haarlequin.sw.compiler.check import Difference
from haarlequin.sw.devices.link import load_frames
from haarlequin.sw.targets import AnyProgram
from haarlequin.sw.verilated import accelerator, build
from haarlequin.sw.verilated.accelerator import CLOCK_HZ, TIMEOUT, say
from haarlequin.sw.verilated.trace import read_trace, record_bytes

SAMPLE_BYTES = 64
"""How many bytes of every memory are read back."""


@dataclass(frozen=True)
class Expected:
    """The golden model's results for one image: every tensor, and how many values were clipped."""

    trace: Trace
    saturations: int


@dataclass(frozen=True)
class Job:
    """A program to load, and images to run through it. Only ``program`` may have a fault."""

    program: AnyProgram
    pixels: np.ndarray
    expected: list[Expected]


@dataclass(frozen=True)
class Result:
    """The machine's results for one image."""

    logits: list[int]
    """One for each class; for a segmentation network, the class of each token."""
    cycles: int
    """Cycles of the lanes, as the machine itself counts them."""
    saturations: int
    done: int
    """The cycle in which the last byte of the result had come."""
    difference: Difference | None
    """The first difference from the golden model, if there is one."""


@dataclass(frozen=True)
class Transfer:
    """A frame of the link that belongs to an image: its bytes from number ``first`` to ``stop`` − 1 of all
    that moved in this direction since the job began.
    """

    image: int
    first: int
    stop: int


@dataclass(frozen=True)
class Outcome:
    """The results of a job."""

    results: list[Result]
    counters: dict[str, int]
    """Cycles that were spent on each operation."""
    late: int
    """Cycles in which passes waited for weights from outside, which no schedule knows."""
    cycles: int
    """Cycles of the simulation so far, loading included."""
    running_cycles: int = 0
    """Cycles from the first byte of the first image to the last result."""
    running_seconds: float = 0.0
    """The seconds in which the simulator computed these."""
    comparing_seconds: float = 0.0
    """The seconds that the comparison with the golden model's tensors took after that."""
    events: Events | None = None
    """The machine's trace, from the first byte of the tables on."""
    sent: tuple[Transfer, ...] = ()
    """The images, in the order in which they were sent. One that was refused was sent again."""
    answered: tuple[Transfer, ...] = ()
    """Their results."""


def expect(model: GoldenModel, pixels: np.ndarray) -> list[Expected]:
    """Run each image through the golden model."""
    expected = []
    for image in pixels:
        trace: Trace = {}
        with arithmetic.count_saturations() as counter:
            model(image[None], trace)
        expected.append(Expected(trace, counter.clipped))
    return expected


def simulator(
    machine: AnyConfig,
    folder: Path,
    fault: str | None = None,
    notice: Callable[[str], None] = say,
) -> Path:
    """The simulator of `sw.verilated.accelerator`, with a fault in its hardware where ``fault`` names one."""
    with faults.in_hardware(fault):
        return accelerator.simulator(machine, folder, variant=fault, notice=notice)


def simulate(folder: Path, jobs: list[Job], gaps: int = 0, stalls: int = 0, seed: int = 1) -> list[Outcome]:
    """Run jobs one after another on a simulator that `simulator` made, without a reset between them.

    ``gaps`` are the sixteenths of the link's cycles, chosen at random, that bring no byte; ``stalls`` are
    those that take none. Raises `sw.verilated.build.SimulationError` where the machine does not answer as
    it should.
    """
    machine = jobs[0].program.machine
    accelerator = Accelerator(machine, CLOCK_HZ, TIMEOUT)
    layout = accelerator.signature.members["trace"].shape
    with tempfile.TemporaryDirectory() as scratch:
        files = {name: Path(scratch, name) for name in ("job", "results", "trace")}
        parts = [
            _described(job, accelerator.identity, Path(scratch, f"load{i}")) for i, job in enumerate(jobs)
        ]
        counters = accelerator.identity.number(COUNTERS_MEMORY)
        operations = accelerator.identity.memories[counters].depth
        shared: dict[str, object] = {"counters": counters, "operations": operations}
        shared |= {"gaps": gaps, "stalls": stalls, "seed": seed, "trace": str(files["trace"])}
        files["job"].write_text(json.dumps(shared | {"jobs": parts}), encoding="utf-8")
        environment = {"BENCH_JOB": str(files["job"]), "BENCH_RESULTS": str(files["results"])}
        build.run(folder, "haarlequin.sim.bench", environment, trace=files["trace"])
        came = json.loads(files["results"].read_text(encoding="utf-8"))
        starts = [0, *(part["trace_bytes"] for part in came)]
        record = record_bytes(layout.size)
        outcomes, before = [], [0] * operations
        for job, part, start in zip(jobs, came, starts, strict=False):
            count = (part["trace_bytes"] - start) // record
            events = Events(layout, *read_trace(files["trace"], layout.size, start // record))
            outcomes.append(_outcome(job, part, events.rows(slice(count)), before))
            before = part["counters"]
    return outcomes


def _described(job: Job, identity: Identity, load: Path) -> dict:
    """Describe a job as the bench reads it, and write its frames to ``load``."""
    frames = load_frames(job.program.compiled())
    load.write_bytes(b"".join(map(encode, frames)))
    # The end of every memory is read back.
    samples = []
    for number, memory in enumerate(identity.memories):
        words = job.program.words.get(memory.name, [])
        first = max(0, len(words) - max(1, SAMPLE_BYTES // memory.word_bytes))
        if words:
            samples.append((number, first, memory.pack(words[first:]).hex()))
    return {
        "load": str(load),
        "answers": len(frames),
        "samples": samples,
        "images": [image.tobytes().hex() for image in job.pixels],
        "timeout": 100_000 + 4 * job.program.latency + 20 * job.pixels[0].size,
    }


def _outcome(job: Job, part: dict, events: Events, before: list[int]) -> Outcome:
    config, began = job.program.model.config, time.perf_counter()
    differences = compare(job.program, events, [expected.trace for expected in job.expected])
    results = []
    for payload, done, difference in zip(part["payloads"], part["done"], differences, strict=True):
        data = bytes.fromhex(payload)
        given = answers.logits_of(data, config, whole=False).tolist()
        cycles, saturations = np.frombuffer(data[-4 * answers.COUNTERS :], "<i4").tolist()
        results.append(Result(given, cycles, saturations, done, difference))
    spent = [(now - then) % (1 << 32) for now, then in zip(part["counters"], before, strict=True)]
    names = (operation.name for operation in job.program.operations())
    return Outcome(
        results,
        dict(zip(names, spent, strict=False)),
        dict(enumerate(spent)).get(OperationCode.LATE, 0),  # a scalar machine has no such counter
        part["cycles"],
        part["running_cycles"],
        part["running_seconds"],
        time.perf_counter() - began,
        events,
        *(
            tuple(Transfer(image, first - before, stop - before) for image, first, stop in part[way])
            for way, before in (("sent", part["sent_before"]), ("answered", part["answered_before"]))
        ),
    )


def faults_of(program: AnyProgram, expected: Expected, result: Result) -> list[str]:
    """List everything that is wrong with an image's result, the first difference first."""
    config = program.model.config
    logits = expected.trace["logits"][0]
    if config.segmentation:
        logits = logits.argmax(-1)
    logits = logits.tolist()
    found = [str(result.difference)] if result.difference else []
    if result.logits != logits:
        place = next(i for i, (a, b) in enumerate(zip(result.logits, logits, strict=True)) if a != b)
        what = (
            f"the class of token {place}" if config.segmentation else f"logits, class {config.classes[place]}"
        )
        found.append(f"{what}: expected {logits[place]}, got {result.logits[place]}")
    late = isinstance(program.machine, AcceleratorConfig) and program.machine.weight_interval > 0
    if result.cycles < program.cycles or (result.cycles > program.cycles and not late):
        found.append(f"cycles: predicted {program.cycles}, took {result.cycles}")
    if result.saturations != expected.saturations:
        found.append(f"saturations: expected {expected.saturations}, counted {result.saturations}")
    return found


def faults_of_job(job: Job, outcome: Outcome) -> list[str]:
    """List everything that is wrong with a job's results: its images, then the cycles of its operations."""
    found = [
        f"image {image}: {fault}"
        for image, (expected, result) in enumerate(zip(job.expected, outcome.results, strict=True))
        for fault in faults_of(job.program, expected, result)
    ]
    took, due = (sum(result.cycles for result in outcome.results), len(job.pixels) * job.program.cycles)
    if took != due + outcome.late:
        found.append(f"cycles: predicted {due}, waited {outcome.late} for weights, took {took}")
    for operation in job.program.operations():
        spent, due = outcome.counters[operation.name], len(job.pixels) * operation.cycles
        if spent != due:
            found.append(f"{operation.name}: predicted {due} cycles, counted {spent}")
    return found
