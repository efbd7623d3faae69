"""`make sim`: a model in the real RTL, image by image and bit by bit against the golden model.

The Verilated accelerator gets its tables and images through the byte link, as a board would. Its trace shows
every tensor of every layer. Exit codes: 1 is a difference or a simulation that failed, 2 is usage or build.
"""

import argparse
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from amaranth.hdl import UnusedElaboratable

from haarlequin.models.common.cli import command, one_line_errors
from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.files import write_text
from haarlequin.models.common.places import build_folder
from haarlequin.sim import faults
from haarlequin.sim.simulate import Expected, Job, Outcome, expect, faults_of, simulate, simulator
from haarlequin.sim.workload import Workload, workload
from haarlequin.sw.compiler import Program
from haarlequin.sw.compiler.resources import ideal_cycles
from haarlequin.sw.mask_picture import shares
from haarlequin.sw.report import listed
from haarlequin.sw.resolve import machine_for
from haarlequin.sw.targets import AnyProgram, compile_model
from haarlequin.sw.verilated import build

SHOWN = ("digits", "cifar10-hybrid")
"""The models that run where a person asks for nothing else. Both are meant for one accelerator."""


@command(interrupted="a simulator that was built is kept")
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    arguments = _arguments(argv)
    # An accelerator is made only to ask for its shapes.
    warnings.simplefilter("ignore", UnusedElaboratable)
    with one_line_errors(arguments.verbose, failures=(build.SimulationError,)):
        passed = [_run(arguments, model) for model in _asked(arguments)]
    if not all(passed):
        sys.exit(1)


def _asked(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The models to run."""
    if arguments.model:
        return (arguments.model,)
    special = arguments.config or arguments.settings or arguments.fault or arguments.data
    return SHOWN[:1] if special else SHOWN


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="haarlequin sim",
        description="A model in the real RTL, image by image and bit by bit against the golden model.",
        epilog="faults: " + "; ".join(f"{name}: {text}" for name, text in faults.FAULTS.items()),
    )
    parser.add_argument("--model", help=f"a preset or an ONNX file (default: {' and '.join(SHOWN)})")
    parser.add_argument("--config", help="an accelerator (default: what the model is meant for)")
    parser.add_argument(
        "--images", type=int, help="how many (default: 16 test images, 3 drawings or 1 random one)"
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="the data set of a trained model, for its test images"
    )
    parser.add_argument(
        "--set", dest="settings", metavar="KEY=VALUE", action="append", default=[], help="of the preset"
    )
    parser.add_argument("--fault", choices=faults.FAULTS, help="break something on purpose: it must show")
    parser.add_argument(
        "--gaps", type=int, default=0, help="sixteenths of the link's cycles without a byte to take"
    )
    parser.add_argument(
        "--stalls", type=int, default=0, help="sixteenths of them in which it takes no answer"
    )
    parser.add_argument("--out", type=Path, help="(default: build/sim)")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    arguments = parser.parse_args(argv)
    for name in ("gaps", "stalls"):
        if getattr(arguments, name) not in range(16):
            parser.error(f"--{name} must be 0 to 15, not {getattr(arguments, name)}")
    if arguments.images is not None and arguments.images < 1:
        parser.error(f"--images must be at least 1, not {arguments.images}")
    arguments.out = arguments.out or build_folder("sim")
    return arguments


def _run(arguments: argparse.Namespace, model: str) -> bool:
    """Simulate and report; returns whether every image is bit-exact."""
    began = time.perf_counter()
    what = workload(model, arguments.settings, arguments.images, arguments.data)
    machine = machine_for(what.model, arguments.config)
    program = compile_model(what.model, machine)
    lanes = f"{machine.lanes} lanes" if machine.lanes > 1 else "one lane"
    print(
        f"{what.name} on {machine.name}: {lanes} of {machine.width} bits; "
        f"{what.kind}; {program.size}, {program.cycles} cycles an image",
        flush=True,
    )
    expected = expect(what.model, what.pixels)
    running = program
    if arguments.fault:
        if not isinstance(program, Program):
            raise UsageError(f"--fault breaks arrays: take another --config than {machine.name}")
        if arguments.fault != "saturation":
            running = faults.faulty(program, arguments.fault, [one.trace for one in expected])
    built = simulator(machine, arguments.out, arguments.fault if arguments.fault == "saturation" else None)
    job = Job(running, what.pixels, expected)
    print("loading the tables through the link, then the images: seconds to a minute\n", flush=True)
    simulating = time.perf_counter()
    (outcome,) = simulate(built, [job], arguments.gaps, arguments.stalls)
    speed = outcome.cycles / (time.perf_counter() - simulating)
    exact = _report_images(what, program, expected, outcome)
    _report_operations(program, outcome, len(what.pixels))
    summary = _summary(what, program, outcome, exact, time.perf_counter() - began, speed)
    write_text(arguments.out / what.name / "summary.json", json.dumps(summary, indent=2) + "\n")
    total = len(what.pixels)
    verdict = "PASS" if exact == total else "FAIL"
    score = "" if summary["top1"] is None else f"top-1 {summary['top1']}/{total}, "
    cycles = f"{summary['cycles_per_image']} cycles/image"
    print(f"{verdict} {what.name}: {exact}/{total} images bit-exact, {score}{cycles}")
    return exact == total


def _truth(what: Workload) -> np.ndarray | None:
    """The true class of each image, where there is one: masks are not compared here."""
    return None if what.model.config.segmentation else what.labels


def _report_images(what: Workload, program: AnyProgram, expected: list[Expected], outcome: Outcome) -> int:
    """Print one line per image; returns how many images are exact in everything."""
    exact, config, truth = 0, what.model.config, _truth(what)
    values = sum(tensor.size for tensor in expected[0].trace.values())
    for i, (golden, result) in enumerate(zip(expected, outcome.results, strict=True)):
        found = faults_of(program, golden, result)
        exact += not found
        label = "" if truth is None else f"label {config.classes[truth[i]]}, "
        answer = np.array(result.logits)
        if config.segmentation:
            guess = listed(shares(answer, len(config.classes)), config.classes)
        else:
            guess = config.classes[answer.argmax()]
        verdict = f"DIFFERS: {'; '.join(found)}" if found else f"bit-exact ({values:,} values)"
        print(f"image {i}: {label}predicted {guess}, {result.cycles} cycles, {verdict}")
    return exact


def _summary(
    what: Workload, program: AnyProgram, outcome: Outcome, exact: int, seconds: float, speed: float
) -> dict:
    config, machine = what.model.config, program.machine
    ideal, cycles = ideal_cycles(config, machine), max(result.cycles for result in outcome.results)
    hits, truth = None, _truth(what)
    if truth is not None:
        guesses = [int(np.argmax(result.logits)) for result in outcome.results]
        hits = sum(int(a) == b for a, b in zip(truth, guesses, strict=True))
    # The cycles from result to result, once the first two images have filled the pipeline.
    intervals = np.diff([result.done for result in outcome.results])[1:]
    interval = int(np.median(intervals)) if len(intervals) else None
    return {
        "model": what.name,
        "config": machine.name,
        "images": len(what.pixels),
        "bit_exact": exact,
        "top1": hits,
        "cycles_per_image": cycles,
        "ideal_cycles": ideal,
        "result_interval": interval,
        "utilisation": round(ideal / max(cycles, interval or 0), 4),
        "wall_s": round(seconds, 2),
        "sim_cycles_per_s": round(speed),
    }


def _report_operations(program: AnyProgram, outcome: Outcome, images: int) -> None:
    """Print the machine's counters beside the compiler's prediction."""
    print(f"\n{'operation':<18}{'cycles':>9}{'counted':>9}{'busy':>8}")
    for operation in program.operations():
        counted = outcome.counters[operation.name]
        busy = operation.busy(program.machine)
        print(f"{operation.name:<18}{operation.cycles:>9}{counted / images:>9.7g}{busy:>8.1%}")
    ideal = ideal_cycles(program.model.config, program.machine)
    print(f"{'all':<18}{program.cycles:>9}{'':>9}{ideal / program.cycles:>8.1%}\n")
