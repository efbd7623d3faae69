"""`make bitstream BOARD=…`: the bitstream of a board, and what it took."""

import argparse
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hw.boards import BOARDS, board
from hw.boards.board import Board
from hw.boards.top import BoardTop
from hw.config import accelerator
from models.cli import one_line_errors
from models.config import PRESETS
from models.errors import UsageError
from models.files import replacing
from sw.choose import fits
from sw.compile import blank

from . import BUILD, report, tools
from .families import COLUMNS, FAMILIES, PREPARE, Family

YOSYS_MILESTONES = r"^\d+\.\d+\. Executing"
NEXTPNR_MILESTONES = r"(Packing|Placed|placement|Running|Routing|arcs|Max frequency|Checksum)"


class BuildError(UsageError):
    """The design does not fit, or misses its clock; the message says by how much and what to change."""


class Stages:
    """Steps of a build in one folder, each done again only where what it depends on has changed."""

    def __init__(self, folder: Path):
        self.folder, self.seconds = folder, 0.0

    @contextmanager
    def stage(self, name: str, title: str, *inputs: str) -> Iterator[bool]:
        """Whether the block has anything to do; its time is added up, also that of an earlier build."""
        digest = hashlib.sha256("\0".join(inputs).encode()).hexdigest()
        stamp = self.folder / f"{name}.stamp"
        before = json.loads(stamp.read_text()) if stamp.exists() else {}
        if before.get("digest") == digest:
            print(f"{title}: as before")
            self.seconds += before["seconds"]
            yield False
            return
        stamp.unlink(missing_ok=True)
        print(f"{title} …", flush=True)
        start = time.monotonic()
        yield True
        seconds = time.monotonic() - start
        stamp.write_text(json.dumps({"digest": digest, "seconds": seconds}))
        self.seconds += seconds
        print(f"{title}: {seconds:.0f} s")


def build(target: Board, config: str, clock_hz: int, baud: int, seed: int) -> dict:
    """Elaborate, synthesise, route and pack; returns what goes into summary.json."""
    family, folder = FAMILIES[target.family], BUILD / target.name
    folder.mkdir(parents=True, exist_ok=True)
    platform, stages = target.platform(), Stages(folder)
    print(f"{target.title}: {config} at {clock_hz / 1e6:g} MHz, {baud:,} baud")
    top = BoardTop(target, accelerator(config), clock_hz, baud)
    plan = platform.prepare(top, "top", script_after_read=PREPARE, synth_opts=family.synth_opts)
    design, script, pins = (_text(plan.files[f"top.{suffix}"]) for suffix in ("il", "ys", family.constraints))
    for suffix, text in (("il", design), ("ys", script), (family.constraints, pins)):
        (folder / f"top.{suffix}").write_text(text)

    with stages.stage("synthesis", "synthesis", design, script, tools.version("yosys")) as due:
        if due:
            tools.run("yosys", [tools.tool("yosys"), "-s", "top.ys"], folder, YOSYS_MILESTONES)
    netlist = (folder / "top.json").read_text()
    modules = report.by_module(folder / "top.json", family)
    with stages.stage(
        "route", "place and route", netlist, pins, str(seed), tools.version(family.nextpnr)
    ) as due:
        if due:
            tools.run("nextpnr", family.route(platform, seed), folder, NEXTPNR_MILESTONES)
    with stages.stage("pack", "packing", (folder / "route.stamp").read_text()) as due:
        if due:
            tools.run("pack", family.pack(), folder, "^$")
    routed = report.routed(folder, family)
    summary = {"board": target.name, "part": target.title, "config": config}
    summary |= {column: routed.usage[column][0] for column in COLUMNS}
    summary |= {"available": {column: routed.usage[column][1] for column in COLUMNS}}
    summary |= {"clock_mhz": clock_hz / 1e6, "fmax_mhz": round(routed.fmax_mhz, 1)}
    summary |= {"met": routed.fmax_mhz * 1e6 >= clock_hz, "seconds": round(stages.seconds), "seed": seed}
    summary |= {"toolchain": [tools.version("yosys"), tools.version(family.nextpnr)]}
    with replacing(folder / "summary.json") as draft:
        draft.write_text(json.dumps(summary, indent=1) + "\n")
    _print(folder, family, modules, routed, summary)
    return summary


def listing() -> str:
    """The boards, and which of the presets each has room for, whatever their weights."""
    rows = [("board", "", "accelerator", "clock", "UART", "models that fit")]
    for target in BOARDS.values():
        config = accelerator(target.config)
        models = [name for name, model in PRESETS.items() if fits(blank(model), config)]
        clock, baud = f"{target.clock_hz / 1e6:g} MHz", f"{target.baud:,} baud"
        rows.append((target.name, target.title, target.config, clock, baud, ", ".join(models)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _text(content: str | bytes) -> str:
    return content.decode() if isinstance(content, bytes) else content


def _print(folder: Path, family: Family, modules: dict, routed: report.Routed, summary: dict) -> None:
    print(report.table(modules))
    for column, (used, available) in routed.usage.items():
        print(f"  {column.upper():<5}{used:>8,} of {available:>8,}  {used / max(1, available):.0%}")
    path = routed.path
    print(
        f"  {routed.fmax_mhz:.1f} MHz of {summary['clock_mhz']:g}; longest path {path.nanoseconds:.1f} ns, "
        f"{path.routing:.1f} of them wires:\n    {path.start}\n  → {path.end}"
    )
    print(f"{folder / ('top.' + family.bitstream)}: {summary['seconds']:,} s in all")


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make bitstream", description=__doc__.splitlines()[0])
    parser.add_argument("--board", metavar="BOARD", help=f"one of {', '.join(BOARDS)}")
    parser.add_argument("--list", action="store_true", help="the boards, and what fits on each")
    parser.add_argument("--config", metavar="CONFIG", help="the accelerator (default: the board's own)")
    parser.add_argument("--freq", type=float, metavar="MHZ", help="clock (default: the board's own)")
    parser.add_argument("--baud", type=int, help="of the UART (default: the board's best)")
    parser.add_argument("--seed", type=int, default=1, help="of the placement (default: 1)")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    arguments = parser.parse_args(argv)
    with one_line_errors(arguments.verbose):
        if arguments.list:
            print(listing())
            return
        if not arguments.board:
            raise UsageError(f"BOARD=… is one of {', '.join(BOARDS)}")
        target = board(arguments.board)
        clock_hz = round(arguments.freq * 1e6) if arguments.freq else target.clock_hz
        summary = build(
            target, arguments.config or target.config, clock_hz, arguments.baud or target.baud, arguments.seed
        )
        if not summary["met"]:
            raise BuildError(
                f"{target.name} misses {summary['clock_mhz']:g} MHz: it reaches {summary['fmax_mhz']} MHz; "
                f"take FREQ={int(summary['fmax_mhz'])}, or try another SEED"
            )


if __name__ == "__main__":
    main()
