"""`make bench`: all figures, each next to its mark, on the screen and in a JSON file.

It reads what is built, and names the command for what is missing; ``--build`` builds that. Exit codes: 1 is a
simulation or a way to compute that differs from the golden model, 2 is usage or build.
"""

import argparse
import warnings
from pathlib import Path

from amaranth.hdl import UnusedElaboratable

from haarlequin.models.common.cli import command, one_line_errors
from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.places import build_folder, writable
from haarlequin.models.presets import PRESETS, preset
from haarlequin.sim.benchmark.computer import Differs
from haarlequin.sim.benchmark.figure import MODEL
from haarlequin.sw.verilated.build import SimulationError


@command(interrupted="what was built is kept")
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="haarlequin benchmark",
        description="Figures of boards, of the simulated accelerator and of this computer, and their marks.",
    )
    parser.add_argument(
        "preset",
        nargs="*",
        metavar="MODEL",
        help=f"trained models or presets (default: those of the boards, and {MODEL})",
    )
    parser.add_argument("--board", action="append", metavar="BOARD", help="only this board (default: all)")
    parser.add_argument("--build", action="store_true", help="build what is missing (a board: up to an hour)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="(default: build/bench.json)")
    parser.add_argument("--train", action="store_true", help="time training steps alone: before, and after")
    parser.add_argument("--batch", type=int, default=64, help="images per training step (default: 64)")
    parser.add_argument("--device", default="auto", help="to train on: cpu, cuda … (default: a GPU if any)")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="for each figure of training (default: 10)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    arguments = parser.parse_args(argv)
    # An accelerator is made only to ask for its shapes.
    warnings.simplefilter("ignore", UnusedElaboratable)
    with one_line_errors(arguments.verbose, failures=(SimulationError, Differs)):
        for name in arguments.preset:
            preset(name)  # an unknown name is refused before anything takes its time
        if arguments.train:
            _train(arguments)
        else:
            _measure(arguments)


def _train(arguments: argparse.Namespace) -> None:
    from haarlequin.models.benchmark import training  # the other figures need PyTorch only at the end

    for name in arguments.preset or PRESETS:
        for how, rates in training(name, arguments.batch, arguments.device, arguments.seconds):
            figures = ", ".join(f"{phase} {rate:.0f}" for phase, rate in rates.items())
            print(f"{name}, {how}: {figures} images/s", flush=True)


def _measure(arguments: argparse.Namespace) -> None:
    from haarlequin.sim.benchmark.report import Report  # who trains need not have the boards' packages

    path = arguments.json or build_folder("bench.json")
    if path.is_dir():
        raise UsageError(f"--json writes a file: {path} is a folder")
    writable(path.parent)
    report = Report(arguments.build)
    report.run(arguments.board, arguments.preset)
    report.write(path)
