"""`haarlequin explore MODEL --board BOARD`: which lanes and words compute a model best on a board.

It sizes an accelerator for each choice of lanes, bits of a word, a third bank and windows, compiles the model
for it, and so knows its cycles, block RAMs and multipliers; LUT4, flip-flops and the clock are estimates
(`explorer.cost`). The Pareto front of LUT4 and images in a second becomes a table, a JSON file and a picture.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from haarlequin.hw.boards import BOARDS, board
from haarlequin.hw.boards.board import Board
from haarlequin.models.common import cli
from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.figures import empty
from haarlequin.models.common.files import replacing, write_text
from haarlequin.models.common.places import build_folder, shown
from haarlequin.models.config import ModelConfig
from haarlequin.models.golden import GoldenModel
from haarlequin.models.presets import preset
from haarlequin.sw.compiler.resources import bit_macs
from haarlequin.sw.explorer import cost, measure
from haarlequin.sw.explorer.front import Point, best, explore, front

NAMES = {"lut4": "LUT4", "ff": "FF", "bram": "block RAMs", "dsp": "multipliers"}


def table(points: Sequence[Point], picked: Point | None, products: int) -> str:
    """Accelerators as text, one in a line; an arrow is before the one that is picked."""
    lines = ["  lanes×K   LUT4      FF  BRAM  DSP   cycles  busy   MHz  images/s  GOPS/kLUT4  lacks"]
    for point in points:
        cells, rate = point.cells, point.images_per_second
        density = 2e-6 * products * rate / cells["lut4"]
        lines.append(
            f"{'→' if point is picked else ' '} {point.choice.name:<8}{cells['lut4']:>7,}{cells['ff']:>8,}"
            f"{cells['bram']:>6}{cells['dsp']:>5}{point.cycles:>9,}{point.busy:>6.0%}{point.clock_mhz:>6.1f}"
            f"{rate:>10,.0f}{density:>12.1f}  {', '.join(NAMES[name] for name in point.lacks)}".rstrip()
        )
    return "\n".join(lines)


def record(
    points: Sequence[Point], picked: Point | None, model: ModelConfig, target: Board
) -> dict[str, Any]:
    """Accelerators as JSON; ``picked`` is the name of the one that is picked, or null."""
    found = [
        {"name": point.choice.name, "images_per_second": round(point.images_per_second, 1)} | asdict(point)
        for point in points
    ]
    return {
        "model": model.name,
        "board": target.name,
        "picked": picked and picked.choice.name,
        "points": found,
    }


def picture(
    points: Sequence[Point], ahead: Sequence[Point], picked: Point | None, title: str, path: Path
) -> None:
    """Every accelerator by LUT4 and images in a second, the front as a line, what does not fit grey."""
    figure = empty(8, 5)
    axes = figure.subplots()
    for fits, colour, label in ((True, "tab:blue", "fits"), (False, "lightgray", "does not fit")):
        some = [point for point in points if fits != bool(point.lacks)]
        places = [point.cells["lut4"] for point in some], [point.images_per_second for point in some]
        axes.scatter(*places, color=colour, label=label, s=18)
    line = [point.cells["lut4"] for point in ahead], [point.images_per_second for point in ahead]
    axes.plot(*line, color="tab:gray", linewidth=1, label="front")
    for point in ahead:
        place = point.cells["lut4"], point.images_per_second
        axes.annotate(point.choice.name, place, xytext=(4, -10), textcoords="offset points", fontsize=8)
    if picked:
        place = picked.cells["lut4"], picked.images_per_second
        axes.scatter(*place, s=90, facecolors="none", edgecolors="tab:red", label="picked")
    axes.set(xlabel="LUT4, estimated", ylabel="images/s, at the clock that is guessed", title=title)
    axes.legend(loc="lower right")
    with replacing(path) as new:
        figure.savefig(new, format="png")


def errors() -> str:
    """The errors of the cost model on the machines that it was not fitted to, as text."""
    found, lines = cost.factors(), []
    for run in measure.load():
        if run.held_out:
            off = ", ".join(
                f"{NAMES[name]} {found.of(name, run.machine):,} of {run.cells[name]:,} "
                f"({cost.error(run, found, name):+.1%})"
                for name in cost.FITTED
            )
            lines.append(f"  {run.machine.name} for {run.model}: {off}")
    return "\n".join(lines)


@cli.command
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="haarlequin explore", description="Which lanes and words compute a model best on a board."
    )
    parser.add_argument("model", metavar="MODEL", nargs="?", help="a preset, such as cifar10-hybrid")
    parser.add_argument("--board", metavar="BOARD", help="a board with an ECP5, such as ulx3s-85f")
    parser.add_argument(
        "--clock", type=float, metavar="MHZ", help="of all machines (default: a guess for each)"
    )
    parser.add_argument("--all", action="store_true", help="show every machine, not only the front")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="(default: build/explore/MODEL-BOARD)"
    )
    parser.add_argument("--errors", action="store_true", help="only the errors of the cost model, by machine")
    parser.add_argument(
        "--measure",
        action="store_true",
        help="synthesise the machines that the cost model is fitted to (hours)",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    arguments = parser.parse_args(argv)
    with cli.one_line_errors(arguments.verbose):
        if arguments.measure:
            measure.measure(build_folder("explore", "runs"))
        if arguments.measure or arguments.errors:
            print(f"machines that the cost model was not fitted to:\n{errors()}")
            return
        if not (arguments.model and arguments.board):
            raise UsageError(
                "name a preset and a board, as in haarlequin explore cifar10-hybrid --board ulx3s-25f"
            )
        _explore(preset(arguments.model), board(arguments.board), arguments)


def _explore(model: ModelConfig, target: Board, arguments: argparse.Namespace) -> None:
    if target.family != "ecp5":
        ones = ", ".join(name for name, one in BOARDS.items() if one.family == "ecp5")
        raise UsageError(f"the cost of lanes is known for ECP5 boards alone: {ones}")
    if arguments.clock is not None and not arguments.clock > 0:
        raise UsageError(f"--clock must be a frequency in MHz, not {arguments.clock:g}")
    points = explore(GoldenModel.blank(model), target, arguments.clock)
    ahead, picked, products = front(points), best(points), sum(bit_macs(model).values())
    print(f"{model.name} on {target.title}: {len(points)} machines, {len(ahead)} of them ahead\n")
    print(table(points if arguments.all else ahead, picked, products))
    folder = arguments.output or build_folder("explore", f"{model.name}-{target.name}")
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record(points, picked, model, target), indent=1)
    write_text(folder / "machines.json", f"{text}\n")
    picture(points, ahead, picked, f"{model.name} on {target.title}", folder / "machines.png")
    best_one = f"→ {picked.choice.name} is the fastest that fits" if picked else "none of them fits"
    print(f"\n{best_one}; all of them: {shown(folder)}/machines.json, machines.png")
