"""`make report`: one page, build/report/index.html, that shows the machine by what commands have left.

What is missing names the command that makes it. The page needs no network. Exit code 2 is usage.
"""

import argparse
import time
import warnings
from pathlib import Path

from amaranth.hdl import UnusedElaboratable

from haarlequin.hw.boards import BOARDS, board
from haarlequin.hw.boards.board import Board
from haarlequin.hw.presets import accelerator
from haarlequin.models.common import ledger
from haarlequin.models.common.cli import command, one_line_errors
from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.files import write_text
from haarlequin.models.common.places import build_folder
from haarlequin.sim.report import area, cycles, ladder, networks, seen, storage
from haarlequin.sim.report.page import page
from haarlequin.sim.report.panel import Section
from haarlequin.sw import rates
from haarlequin.sw.resolve import golden_model, machine_for, trained
from haarlequin.sw.targets import AnyProgram, compile_model, fits

BOARD = "ulx3s-25f"
"""The board of the page where neither it nor a model is named."""


@command(interrupted="no page was written")
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="haarlequin report", description="One page that shows the machine.")
    parser.add_argument("--model", help="a trained model (default: the board's own)")
    parser.add_argument("--board", help=f"one of {', '.join(BOARDS)} (default: the model's, or {BOARD})")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the model's data set, for its test images")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="(default: build/report/index.html)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    arguments = parser.parse_args(argv)
    warnings.simplefilter("ignore", UnusedElaboratable)  # an accelerator is made only to ask for its shapes
    with one_line_errors(arguments.verbose):
        _make(arguments)


def _make(arguments: argparse.Namespace) -> None:
    began = time.monotonic()
    path = arguments.output or build_folder("report", "index.html")
    if path.is_dir():
        raise UsageError(f"--output is a file: {path} is a folder")
    target = _board(arguments.board, arguments.model)
    name = arguments.model or target.model
    if trained(name) is None:
        raise UsageError(f"{name} is no trained model: haarlequin evaluate --help names them")
    program = _program(name, target)
    sections = []
    for make, title in (
        (lambda: seen.section(name, arguments.data), "what the model sees"),
        (lambda: cycles.section(program), "cycles"),
        (lambda: area.section(target), "area"),
        (lambda: storage.section(program, target), "memories"),
        (networks.section, "networks"),
        (ladder.section, "checks"),
    ):
        print(f"{title} …", flush=True)
        sections.append(make())
    write_text(path, page(f"Haarlequin: {name}", _lead(program, target), _numbers(program, target), sections))
    lacking = [panel for section in sections for panel in section.panels if panel.missing]
    for panel in lacking:
        print(f"missing: {panel.title.lower()}: {panel.command}")
    size = path.stat().st_size / 1e6
    print(f"{path}: {_panels(sections)} panels, {size:.1f} MB, {time.monotonic() - began:.0f} s")


LEAD = (
    "An accelerator on an FPGA that labels small pictures with a network whose weights and activations are "
    "single bits: a binary vision transformer, with convolutions before it. This page shows one network, "
    "{model} ({structure}), on one machine: {machine} is {lanes} lanes that each compare {width} bits in a "
    "cycle, on the {board}."
)


def _lead(program: AnyProgram, target: Board) -> str:
    """The page in a few sentences."""
    model, machine = program.model.config, program.machine
    return LEAD.format(
        model=model.name,
        structure=model.structure,
        machine=machine.name,
        lanes=machine.lanes,
        width=machine.width,
        board=target.title,
    )


def _numbers(program: AnyProgram, target: Board) -> dict[str, str]:
    """The numbers that a person looks for first."""
    model, machine = program.model.config, program.machine
    took = rates.cycles(model.name, machine.name)
    found = {}
    if its := networks.card(model.name):
        what = "mean IoU of test masks" if model.segmentation else "test images right"
        found[what] = f"{networks.top1(its):.1%}"
    found["images a second"] = f"{target.clock_hz / took:,.0f}"
    found["of one image"] = f"{program.cycles:,} cycles"
    found["clock"] = f"{target.clock_hz / 1e6:g} MHz"
    if facts := area.facts_of(target):
        found["chip in use"] = f"{facts['lut4'] / facts['available']['lut4']:.0%} of LUT4"
    results = ledger.read()
    found["checks passed here"] = f"{sum(each.passed for each in results.values())} of {len(ladder.LADDER)}"
    return found


def _panels(sections: list[Section]) -> int:
    return sum(len(section.panels) for section in sections)


def _board(name: str | None, model: str | None) -> Board:
    """The board of that name; without a name the first that is meant for the model, or `BOARD`."""
    if name:
        return board(name)
    return next((each for each in BOARDS.values() if each.model == model), BOARDS[BOARD])


def _program(name: str, target: Board) -> AnyProgram:
    """The model for the board's accelerator or, where it does not fit that, for its usual one."""
    model, machine = golden_model(name), accelerator(target.config)
    if not fits(model, machine):
        machine = machine_for(model, None)
    return compile_model(model, machine, check=False)
