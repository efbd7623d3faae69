"""`make sim`: a model in the real RTL, image by image and bit by bit against the golden model.

The Verilated accelerator gets its tables and images through the byte link, as a board would; its trace shows
every tensor of every layer. Exit codes: 1 a difference or a simulation that failed, 2 usage or build.
"""

import argparse
import json
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from amaranth.hdl import UnusedElaboratable

import hw
import models
import sw
from hw.accelerator import Accelerator
from hw.config import AcceleratorConfig
from hw.program import OPERATIONS
from models import arithmetic
from models.cli import one_line_errors
from models.files import replacing
from sim import build, faults
from sim.driver import read_trace
from sim.observe import Events, compare
from sim.subject import Subject, machine_for, subject
from sw.compiler import Program, compile_model
from sw.compiler.check import Difference
from sw.compiler.read import ReadError
from sw.compiler.resources import DoesNotFit, bit_macs, embedding_cycles, ideal_cycles, operations
from sw.protocol import Frame, FrameType, encode

CLOCK_HZ = 50_000_000
TIMEOUT = 1 << 16
"""Cycles after which the link gives up a frame."""
LOAD_BYTES = 4096
"""Of a LOAD's payload, at most."""


@dataclass(frozen=True)
class Outcome:
    """What a simulation gave, of each image and of all of them together."""

    logits: list[list[int]]
    cycles: list[int]
    saturations: list[int]
    done: list[int]
    """The cycle in which each result was complete."""
    counters: list[int]
    """Cycles by operation since the reset."""
    differences: list[Difference | None]
    simulated: int
    """Cycles, loading included."""
    seconds: float


def simulator(machine: AcceleratorConfig, folder: Path, fault: str | None = None) -> Path:
    """The Verilated accelerator, built if it is not there yet."""
    name = machine.name if fault is None else f"{machine.name}-{fault}"
    identity = f"{build.fingerprint(hw, models, sw)} {machine!r} {fault}"
    notice = f"building the simulator of {name}, once: half a minute for 16 lanes, a few for 64"
    with faults.in_hardware(fault):
        return build.build(
            lambda: Accelerator(machine, CLOCK_HZ, TIMEOUT), folder / name, identity=identity, notice=notice
        )


def load_frames(program: Program, identity) -> list[Frame]:
    """What fills every memory, and seals them."""
    frames = []
    for number, memory in enumerate(identity.memories):
        words = program.words.get(memory.name, [])
        count = max(1, LOAD_BYTES // memory.word_bytes)
        for first in range(0, len(words), count):
            payload = memory.pack(words[first : first + count])
            frames.append(Frame(FrameType.LOAD, len(frames) % 256, number, first, payload))
    return [*frames, Frame(FrameType.SEAL, len(frames) % 256)]


def simulate(
    folder: Path,
    program: Program,
    pixels: torch.Tensor,
    traces: list[dict],
    gaps: int = 0,
    stalls: int = 0,
    seed: int = 1,
) -> Outcome:
    """Run images through a simulator; ``traces`` are the golden ones.

    ``gaps`` and ``stalls`` are sixteenths of the link's cycles that bring nothing, or take nothing.
    """
    began = time.perf_counter()
    config, machine = program.lowered.model.config, program.lowered.machine
    accelerator = Accelerator(machine, CLOCK_HZ, TIMEOUT)
    frames = load_frames(program, accelerator.identity)
    waiting = 4 * (program.cycles + embedding_cycles(config, machine)) + 40 * len(config.classes) * config.dim
    job = {
        "loads": len(frames),
        "images": [image.numpy().tobytes().hex() for image in pixels],
        "counters": len(accelerator.identity.memories) - 1,
        "operations": len(OPERATIONS),
        "timeout": 100_000 + waiting,
        "gaps": gaps,
        "stalls": stalls,
        "seed": seed,
    }
    with tempfile.TemporaryDirectory() as scratch:
        files = {name: Path(scratch, name) for name in ("job", "load", "results", "trace")}
        files["load"].write_bytes(b"".join(map(encode, frames)))
        files["job"].write_text(json.dumps(job))
        environment = {f"BENCH_{name.upper()}": str(path) for name, path in files.items()}
        build.run(folder, "sim.bench", environment, trace=files["trace"])
        results = json.loads(files["results"].read_text())
        layout = accelerator.signature.members["trace"].shape
        events = Events(layout, read_trace(files["trace"], layout.size))
    words = [np.frombuffer(bytes.fromhex(payload), "<i4").tolist() for payload in results["payloads"]]
    return Outcome(
        logits=[row[:-2] for row in words],
        cycles=[row[-2] for row in words],
        saturations=[row[-1] for row in words],
        done=results["done"],
        counters=results["counters"],
        differences=list(compare(program, events, traces)),
        simulated=results["cycles"],
        seconds=time.perf_counter() - began,
    )


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    arguments = _arguments(argv)
    began = time.perf_counter()
    warnings.simplefilter("ignore", UnusedElaboratable)  # of an accelerator that is only asked for its shapes
    try:
        with one_line_errors(
            arguments.verbose, ReadError, DoesNotFit, build.BuildError, failures=(build.SimulationError,)
        ):
            passed = _run(arguments, began)
    except KeyboardInterrupt:
        sys.exit("\ninterrupted: nothing is lost, a simulator that was built is kept")
    if not passed:
        sys.exit(1)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make sim",
        description=__doc__.splitlines()[0],
        epilog="faults: " + "; ".join(f"{name}: {text}" for name, text in faults.FAULTS.items()),
    )
    parser.add_argument("--model", default="digits", help="a preset or an ONNX file (default: digits)")
    parser.add_argument("--config", help="an accelerator (default: what the model is meant for)")
    parser.add_argument("--images", type=int, help="how many (default: 16 digits; 1 random image of others)")
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
    parser.add_argument("--out", type=Path, default=Path("build/sim"), help="(default: build/sim)")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    arguments = parser.parse_args(argv)
    for name in ("gaps", "stalls"):
        if getattr(arguments, name) not in range(16):
            parser.error(f"--{name} must be 0 to 15, not {getattr(arguments, name)}")
    if arguments.images is not None and arguments.images < 1:
        parser.error(f"--images must be at least 1, not {arguments.images}")
    return arguments


def _run(arguments: argparse.Namespace, began: float) -> bool:
    """Simulate and report; whether all was as it must be."""
    what = subject(
        arguments.model, arguments.settings, arguments.images, arguments.out / Path(arguments.model).stem
    )
    machine = machine_for(what.model, arguments.config)
    program = compile_model(what.model, machine)
    print(
        f"{what.name} on {machine.name}: {machine.lanes} lanes of {machine.width} bits; "
        f"{'trained' if what.trained else 'random'} weights, {len(what.pixels)} images; "
        f"{len(program.lowered.passes)} passes, {program.cycles} cycles an image",
        flush=True,
    )
    traces, clipped = _golden(what)
    running = program
    if arguments.fault and arguments.fault != "saturation":
        running = faults.faulty(program, arguments.fault, traces)
    built = simulator(machine, arguments.out, arguments.fault if arguments.fault == "saturation" else None)
    outcome = simulate(built, running, what.pixels, traces, arguments.gaps, arguments.stalls)
    exact = _report_images(what, outcome, traces, clipped, program)
    summary = _summary(what, program, outcome, exact, time.perf_counter() - began)
    with replacing(arguments.out / what.name / "summary.json") as draft:
        draft.write_text(json.dumps(summary, indent=2) + "\n")
    _report_operations(program, outcome, len(what.pixels))
    total = len(what.pixels)
    score = f"top-1 {summary['top1']}/{total}, " if what.trained else ""
    verdict = "PASS" if exact == total else "FAIL"
    cycles = f"{summary['cycles_per_image']} cycles/image"
    print(f"{verdict} {what.name}: {exact}/{total} images bit-exact, {score}{cycles}")
    return exact == total


def _golden(what: Subject) -> tuple[list[dict], list[int]]:
    """Trace and saturations of each image."""
    traces, clipped = [], []
    for image in what.pixels:
        trace: dict[str, torch.Tensor] = {}
        with arithmetic.count_saturations() as counter:
            what.model(image[None], trace)
        traces.append(trace)
        clipped.append(counter.clipped)
    return traces, clipped


def _report_images(
    what: Subject, outcome: Outcome, traces: list[dict], clipped: list[int], program: Program
) -> int:
    """A line for each image; how many were exact in everything."""
    exact = 0
    classes, values = what.model.config.classes, sum(tensor.numel() for tensor in traces[0].values())
    for i, difference in enumerate(outcome.differences):
        logits = traces[i]["logits"][0].tolist()
        wrong = [
            str(difference) if difference else "",
            f"logits: expected {logits}, got {outcome.logits[i]}" if outcome.logits[i] != logits else "",
            f"cycles: predicted {program.cycles}, took {outcome.cycles[i]}"
            if outcome.cycles[i] != program.cycles
            else "",
            f"saturations: expected {clipped[i]}, counted {outcome.saturations[i]}"
            if outcome.saturations[i] != clipped[i]
            else "",
        ]
        wrong = [text for text in wrong if text]
        exact += not wrong
        label = f"label {classes[what.labels[i]]}, " if what.trained else ""
        guess = classes[int(np.argmax(outcome.logits[i]))]
        verdict = f"DIFFERS at {'; '.join(wrong)}" if wrong else f"bit-exact ({values} values)"
        print(f"image {i}: {label}predicted {guess}, {outcome.cycles[i]} cycles, {verdict}")
    return exact


def _interval(outcome: Outcome) -> int | None:
    """Cycles from result to result once the pipeline is full."""
    return min(np.diff(outcome.done).tolist()[1:], default=None)


def _summary(what: Subject, program: Program, outcome: Outcome, exact: int, seconds: float) -> dict:
    config, machine = what.model.config, program.lowered.machine
    ideal = ideal_cycles(config, machine)
    guesses = [int(np.argmax(row)) for row in outcome.logits]
    hits = (
        sum(int(label) == guess for label, guess in zip(what.labels, guesses, strict=True))
        if what.trained
        else None
    )
    return {
        "model": what.name,
        "config": machine.name,
        "images": len(what.pixels),
        "bit_exact": exact,
        "top1": hits,
        "cycles_per_image": max(outcome.cycles),
        "ideal_cycles": ideal,
        "utilisation": round(ideal / max(outcome.cycles), 4),
        "result_interval": _interval(outcome),
        "wall_s": round(seconds, 2),
        "sim_cycles_per_s": round(outcome.simulated / outcome.seconds),
    }


def _report_operations(program: Program, outcome: Outcome, images: int) -> None:
    """The machine's counters beside the compiler's prediction."""
    machine, macs = program.lowered.machine, bit_macs(program.lowered.model.config)
    print(f"\n{'operation':<18}{'cycles':>9}{'counted':>9}{'busy':>8}")
    for operation, counted in zip(operations(program.lowered), outcome.counters, strict=False):
        busy = macs.get(operation.name, 0) / (machine.lanes * machine.width) / max(1, operation.cycles)
        print(f"{operation.name:<18}{operation.cycles:>9}{counted / images:>9g}{busy:>8.1%}")
    ideal = ideal_cycles(program.lowered.model.config, machine)
    print(f"{'all':<18}{program.cycles:>9}{'':>9}{ideal / program.cycles:>8.1%}\n")


if __name__ == "__main__":
    main()
