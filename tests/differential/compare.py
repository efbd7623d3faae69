"""All comparisons of a case. Every one of them is equality, and says what differs first."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch

from haarlequin.hw.bitstream.flow import Flow
from haarlequin.hw.boards import board
from haarlequin.hw.config import AnyConfig
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.files import locked
from haarlequin.models.common.places import build_folder
from haarlequin.models.golden import Trace
from haarlequin.models.onnx.graph import export
from haarlequin.sim import faults, gatesim
from haarlequin.sim.simulate import (
    Expected,
    Job,
    Result,
    faults_of,
    faults_of_job,
    simulate,
    simulator,
)
from haarlequin.sw.compiler import Program, check_words
from haarlequin.sw.compiler.resources import DoesNotFit
from haarlequin.sw.devices.device import CompiledModel, Device
from haarlequin.sw.devices.link import LinkDevice
from haarlequin.sw.devices.simulated import SimulatedLine
from haarlequin.sw.scalar.program import ScalarProgram, compare_run
from haarlequin.sw.scalar.program import run as run_firmware
from haarlequin.sw.targets import AnyProgram, compile_model
from haarlequin.sw.verilated.build import SimulationError
from tests.differential.case import KNOWN, Case, Pair
from tests.models.runtime import observed, run
from tests.small_machines import SMALLEST

Verdict = str | None
"""The first difference of a pair, empty where all is equal; None where a comparison is not for this pair."""

DIVISOR = 4
"""Clock cycles per bit of the UART of a netlist."""


def first_of(compare: Callable[[], Verdict]) -> Verdict:
    """The verdict of a comparison, for which any exception is a difference, too."""
    try:
        return compare()
    except DoesNotFit:
        return None
    except Exception as error:  # noqa: BLE001 (whatever goes wrong is what the campaign looks for)
        return f"{type(error).__name__}: {error}"


def deploy(pair: Pair) -> Verdict:
    """Logits of deploy mode."""
    with torch.no_grad():
        logits = pair.network.integer_logits(torch.from_numpy(pair.pixels))
    return "" if np.array_equal(logits, pair.golden(pair.pixels)) else "the logits differ"


def onnxruntime(pair: Pair) -> Verdict:
    """Every tensor of the exported file in onnxruntime, all images at once."""
    if pair.config.golden_only:
        return None
    trace: Trace = {}
    pair.golden(pair.pixels, trace)
    outputs = run(observed(export(pair.golden)), {"pixels": pair.pixels})
    return next((f"{name} differs" for name in trace if not np.array_equal(outputs[name], trace[name])), "")


def emulator(pair: Pair, program: AnyProgram) -> Verdict:
    """Every tensor, logit and saturation of the words in the compiler's emulator."""
    if not isinstance(program, Program):
        return None
    for pixels in pair.pixels:
        check_words(program, pixels[None])
    return ""


def firmware(pair: Pair, program: AnyProgram | None) -> Verdict:
    """The same, and the cycles, of firmware on the emulated scalar core."""
    if not isinstance(program, ScalarProgram):
        program = compile_model(pair.golden, CONFIGS["scalar"], check=False)
    for pixels in pair.pixels:
        compare_run(program, run_firmware(program.words, pixels), pixels[None])
    return ""


def faults_of_answers(
    device: Device, program: AnyProgram, pixels: np.ndarray, expected: list[Expected]
) -> list[str]:
    """Load a program into a device and list what is wrong with its answers: logits, cycles, saturations.

    The cycles count for the first image only: later ones may wait for a slow line.
    """
    device.load(CompiledModel(program.compiled()))
    found = []
    for i, (result, wanted) in enumerate(zip(device.run(pixels), expected, strict=True)):
        cycles = result.cycles if i == 0 else program.cycles
        answered = Result(result.answer.tolist(), cycles, result.saturations, 0, None)
        found += [f"image {i}: {fault}" for fault in faults_of(program, wanted, answered)]
    return found


class Comparisons:
    """Compares all that computes a pair.

    Arguments:
        fault: the name of a fault that every machine gets, one of `sim.faults.FAULTS`.
        netlist: whether the smallest array also runs as a netlist, which takes minutes to make once.
        notice: is told before a build.
    """

    NAMES = ("deploy", "onnxruntime", "emulator", "firmware", "RTL", "netlist")

    def __init__(self, fault: str | None = None, netlist: bool = True, notice: Callable[[str], None] = print):
        self._fault, self._netlist, self._notice = fault, netlist, notice

    def __call__(self, case: Case, names: Iterable[str] = NAMES) -> dict[str, list[Verdict]]:
        """The verdicts of each comparison, one for each pair."""
        programs: list[AnyProgram | Verdict] = [None] * len(case.pairs)
        if case.machine:
            programs = [_compiled(pair, case.machine) for pair in case.pairs]
        found: dict[str, list[Verdict]] = {}
        for name in names:
            if name == "RTL":
                found[name] = self._rtl(case, programs)
            elif name == "netlist":
                found[name] = self._gates(case, programs)
            else:
                found[name] = [_alone(name, *each) for each in zip(case.pairs, programs, strict=True)]
        return found

    def build(self, machine: AnyConfig | None) -> None:
        """Build what the machine runs on, if it is not there yet."""
        if machine:
            self._simulator(machine)
        if machine == SMALLEST and self._netlist:
            _netlist(self._notice)

    def _simulator(self, machine: AnyConfig) -> Path:
        folder = build_folder("sim") if KNOWN.get(machine.name) == machine else build_folder("fuzz")
        fault = "saturation" if self._fault == "saturation" else None
        return simulator(machine, folder, fault, self._notice)

    def _rtl(self, case: Case, programs: Sequence[AnyProgram | Verdict]) -> list[Verdict]:
        """One simulation of all pairs; where it does not end well, one for each."""
        verdicts: list[Verdict] = [None] * len(case.pairs)
        jobs: dict[int, Job] = {}
        for i, (pair, program) in enumerate(zip(case.pairs, programs, strict=True)):
            if not isinstance(program, str | None):
                expected = pair.expected
                try:
                    jobs[i] = Job(self._faulty(program, expected), pair.pixels, expected)
                except UsageError:  # nothing in it that the fault would break
                    continue
        if not jobs:
            return verdicts
        assert case.machine
        try:
            outcomes = simulate(self._simulator(case.machine), list(jobs.values()), case.gaps, case.stalls)
        except SimulationError as error:
            if len(case.pairs) > 1:
                alone = zip(case.pairs, programs, strict=True)
                verdicts = [self._rtl(case.with_(pair), [program])[0] for pair, program in alone]
            if not any(verdicts):
                verdicts[max(jobs)] = f"SimulationError: {error}"
            return verdicts
        for i, outcome in zip(jobs, outcomes, strict=True):
            verdicts[i] = next(iter(faults_of_job(jobs[i], outcome)), "")
        return verdicts

    def _faulty(self, program: AnyProgram, expected: list[Expected]) -> AnyProgram:
        if not isinstance(program, Program) or self._fault in (None, "saturation"):
            return program
        return faults.faulty(program, self._fault, [one.trace for one in expected])

    def _gates(self, case: Case, programs: Sequence[AnyProgram | Verdict]) -> list[Verdict]:
        if case.machine != SMALLEST or not self._netlist:
            return [None] * len(case.pairs)
        flow, folder = _netlist(self._notice)
        with LinkDevice(SimulatedLine(folder, 10 * DIVISOR, flow.top.clock_hz)) as device:
            return [
                None
                if isinstance(program, str | None)
                else first_of(lambda pair=pair, program=program: _first_answer(device, program, pair))
                for pair, program in zip(case.pairs, programs, strict=True)
            ]


def _first_answer(device: Device, program: AnyProgram, pair: Pair) -> Verdict:
    found = faults_of_answers(device, program, pair.pixels, pair.expected)
    return next(iter(found), "")


def _compiled(pair: Pair, machine: AnyConfig) -> AnyProgram | Verdict:
    """The program, or what went wrong; None where it does not fit."""
    try:
        return compile_model(pair.golden, machine, check=False)
    except DoesNotFit:
        return None
    except Exception as error:  # noqa: BLE001 (as in `first_of`)
        return f"{type(error).__name__}: {error}"


def _alone(name: str, pair: Pair, program: AnyProgram | Verdict) -> Verdict:
    """The verdict of a comparison that needs nothing but the pair and its program."""
    made = None if isinstance(program, str) else program
    match name:
        case "deploy":
            return first_of(lambda: deploy(pair))
        case "onnxruntime":
            return first_of(lambda: onnxruntime(pair))
        case "firmware":
            return first_of(lambda: firmware(pair, made))
    if isinstance(program, str | None):  # the compiler failed
        return program
    return first_of(lambda: emulator(pair, program))


@cache
def _netlist(notice: Callable[[str], None]) -> tuple[Flow, Path]:
    """The smallest array as yosys makes it for an ECP5, and its simulator."""
    target = board("ulx3s-85f")
    folder = build_folder("fuzz", f"{SMALLEST.name}-netlist")
    flow = Flow(target, SMALLEST, target.clock_hz, target.clock_hz // DIVISOR, folder)
    with locked(flow.folder, notice):
        flow.synthesise()
        return flow, gatesim.simulator(flow, folder / "gates")
