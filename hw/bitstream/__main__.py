"""`make bitstream BOARD=…`: the bitstream of a board, and what it took."""

import argparse
import json
import sys
from collections import Counter

from hw.boards import BOARDS, board
from hw.boards.board import PLACERS
from hw.config import accelerator
from models.cli import one_line_errors
from models.config import PRESETS
from models.errors import UsageError
from models.files import replacing
from sw.compile import blank
from sw.programs import fits

from . import BUILD, floorplan, report, tools
from .families import COLUMNS, PLACED
from .flow import Flow


class BuildError(UsageError):
    """The design does not fit, or misses its clock; the message says by how much and what to change."""


def check_size(modules: dict[str, Counter], flow: Flow) -> None:
    """Raise `BuildError` where the netlist has more cells than the part."""
    used = sum(modules.values(), Counter())
    over = [
        f"{used[column]:,} {column.upper()} of {there:,}"
        for column, there in flow.target.capacity.items()
        if used[column] > there
    ]
    if over:
        raise BuildError(
            f"{flow.top.config.name} does not fit {flow.target.name}: {', '.join(over)}; "
            'take a smaller accelerator, ARGS="--config …"'
        )


def summary(flow: Flow, routed: report.Routed, seed: int) -> dict:
    """What goes into summary.json."""
    clock_mhz = flow.top.clock_hz / 1e6
    found = {"board": flow.target.name, "part": flow.target.title, "config": flow.top.config.name}
    found |= {column: routed.usage[column][0] for column in COLUMNS}
    found |= {"available": {column: routed.usage[column][1] for column in COLUMNS}}
    found |= {"clock_mhz": clock_mhz, "fmax_mhz": round(routed.fmax_mhz, 1)}
    found |= {"met": routed.fmax_mhz >= clock_mhz, "seconds": round(flow.seconds), "seed": seed}
    return found | {"toolchain": [tools.version("yosys"), tools.version(flow.family.nextpnr)]}


def describe(flow: Flow, routed: report.Routed) -> str:
    """The same for people, with the path that limits the clock."""
    lines = []
    for column, (used, available) in routed.usage.items():
        lines.append(f"  {column.upper():<5}{used:>8,} of {available:>8,}  {used / max(1, available):.0%}")
    path, clock = routed.path, f"{routed.fmax_mhz:.1f} MHz of {flow.top.clock_hz / 1e6:g}"
    lines.append(f"  {clock}; longest path {path.nanoseconds:.1f} ns, {path.routing:.1f} of them wires:")
    lines += [f"    {path.start}", f"  → {path.end}"]
    lines.append(f"floorplan: {flow.folder / 'floorplan.png'}")
    return "\n".join([*lines, f"{flow.bitstream}: {flow.seconds:,.0f} s in all"])


def listing() -> str:
    """The boards, and which of the presets each has room for, whatever their weights."""
    rows = [("board", "", "accelerator", "meant for", "clock", "UART", "models that fit")]
    for target in BOARDS.values():
        config = accelerator(target.config)
        models = [name for name, model in PRESETS.items() if fits(blank(model), config)]
        clock, baud = f"{target.clock_hz / 1e6:g} MHz", f"{target.baud:,} baud"
        rows.append((target.name, target.title, target.config, target.model, clock, baud, ", ".join(models)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def built() -> str:
    """What was built here, as Markdown; raises UsageError where nothing was."""
    rows = [
        "| board | accelerator | LUT4 | FF | BRAM | DSP | clock, MHz |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for target in BOARDS.values():
        path = BUILD / target.name / "summary.json"
        if not path.exists():
            continue
        found = json.loads(path.read_text())
        used = (f"{found[column]:,} of {found['available'][column]:,}" for column in COLUMNS)
        clock = f"{found['fmax_mhz']} of {found['clock_mhz']:g}"
        rows.append(f"| {found['part']} | `{found['config']}` | {' | '.join(used)} | {clock} |")
    if len(rows) == 2:
        raise UsageError("nothing was built here yet: make bitstream BOARD=…")
    return "\n".join(rows)


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make bitstream", description=__doc__.splitlines()[0])
    parser.add_argument("--board", metavar="BOARD", help=f"one of {', '.join(BOARDS)}")
    parser.add_argument("--list", action="store_true", help="the boards, and what fits on each")
    parser.add_argument("--table", action="store_true", help="what was built here, as Markdown")
    parser.add_argument("--config", metavar="CONFIG", help="the accelerator (default: the board's own)")
    parser.add_argument("--freq", type=float, metavar="MHZ", help="clock (default: the board's own)")
    parser.add_argument("--baud", type=int, help="of the UART (default: the board's best)")
    parser.add_argument("--seed", type=int, default=1, help="of the placement (default: 1)")
    parser.add_argument("--placer", choices=PLACERS, help="of nextpnr (default: the board's own)")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    arguments = parser.parse_args(argv)
    try:
        with one_line_errors(arguments.verbose):
            _run(arguments)
    except KeyboardInterrupt:
        sys.exit("\ninterrupted: the stages that ended are kept, the same command goes on behind them")


def _run(arguments: argparse.Namespace) -> None:
    if arguments.list or arguments.table:
        print(listing() if arguments.list else built())
        return
    for name in ("freq", "baud"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value < 1e9:
            raise UsageError(f"--{name} must be a positive number, not {value:g}")
    if not arguments.board:
        raise UsageError(f"BOARD=… is one of {', '.join(BOARDS)}")
    target = board(arguments.board)
    clock_hz = round(arguments.freq * 1e6) if arguments.freq else target.clock_hz
    config = accelerator(arguments.config or target.config)
    flow = Flow(target, config, clock_hz, arguments.baud or target.baud, BUILD / target.name)
    print(f"{target.title}: {config.name} at {flow.top.clock_hz / 1e6:g} MHz", flush=True)
    flow.synthesise()
    modules = report.by_module(flow.netlist, flow.family)
    print(report.table(modules), flush=True)
    check_size(modules, flow)
    flow.route(arguments.seed, arguments.placer or target.placer)
    routed = report.routed(flow.folder, flow.family)
    flow.pack()
    picture = flow.folder / "floorplan.png"
    floorplan.draw(flow.folder / PLACED, f"{target.title}, {config.name}", picture)
    found = summary(flow, routed, arguments.seed)
    with replacing(flow.folder / "summary.json") as draft:
        draft.write_text(json.dumps(found, indent=1) + "\n")
    print(describe(flow, routed))
    if not found["met"]:
        raise BuildError(
            f"{target.name} misses {found['clock_mhz']:g} MHz: it reaches {found['fmax_mhz']} MHz; "
            f"take FREQ={int(found['fmax_mhz'])}, or try another SEED"
        )


if __name__ == "__main__":
    main()
