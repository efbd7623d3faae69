"""`make bitstream BOARD=…`: make the bitstream of a board, and report what it uses of the FPGA."""

import argparse
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from haarlequin.hw.bitstream import floorplan, report, tools
from haarlequin.hw.bitstream.flow import SUMMARY, Flow, read_summary
from haarlequin.hw.boards import BOARDS, board
from haarlequin.hw.boards.board import PLACERS, Board
from haarlequin.hw.boards.top import clocks
from haarlequin.hw.families.family import PLACED, RESOURCES
from haarlequin.hw.families.pll import decimal
from haarlequin.hw.link.ethernet.address import DEFAULT
from haarlequin.hw.presets import accelerator
from haarlequin.models.common.cli import command, one_line_errors
from haarlequin.models.common.errors import UsageError, printable
from haarlequin.models.common.files import locked, say
from haarlequin.models.common.places import build_folder
from haarlequin.models.golden import GoldenModel
from haarlequin.models.presets import PRESETS
from haarlequin.sw.targets import fits

SLOW_BAUD = 1_000_000
"""The UART's rate to advise where the board's own rate cannot be made from any clock that the design reaches.
Every USB adapter can do it."""


class BuildError(UsageError):
    """The design does not fit, or misses its clock; the message says by how much and what to change."""


def check_size(modules: dict[str, Counter], flow: Flow) -> None:
    """Raise `BuildError` where the netlist has more cells than the part."""
    used = sum(modules.values(), Counter())
    over = [
        f"{used[resource]:,} {resource.upper()} of {available:,}"
        for resource, available in flow.target.capacity.items()
        if used[resource] > available
    ]
    if over:
        raise BuildError(
            f"{flow.top.config.name} does not fit {flow.target.name}: {', '.join(over)}; "
            'take a smaller accelerator, ARGS="--config …"'
        )


def summary(flow: Flow, routed: report.Routed, seed: int) -> dict[str, Any]:
    """The facts that go into the file `SUMMARY`, beside the bitstream."""
    clock_mhz = flow.top.clock_hz / 1e6
    found: dict[str, Any] = {
        "board": flow.target.name,
        "part": flow.target.title,
        "config": flow.top.config.name,
    }
    found |= {resource: routed.usage[resource][0] for resource in RESOURCES}
    found |= {"available": {resource: routed.usage[resource][1] for resource in RESOURCES}}
    found |= {"clock_mhz": clock_mhz, "baud": flow.baud, "fmax_mhz": round(routed.fmax_mhz, 1)}
    met = routed.fmax_mhz >= clock_mhz and not routed.missed
    found |= {"met": met, "seconds": round(flow.seconds), "seed": seed}
    programs = "yosys", flow.family.nextpnr, flow.family.packer
    return found | {"toolchain": [tools.version(program) for program in programs]}


def describe(flow: Flow, routed: report.Routed) -> str:
    """The facts as text for people, with the path that limits the clock."""
    lines = []
    for resource, (used, available) in routed.usage.items():
        lines.append(f"  {resource.upper():<5}{used:>8,} of {available:>8,}  {used / max(1, available):.0%}")
    path, clock = routed.path, f"{routed.fmax_mhz:.1f} MHz of {flow.top.clock_hz / 1e6:g}"
    lines.append(f"  {clock}; longest path {path.nanoseconds:.1f} ns, {path.routing:.1f} of them wires:")
    lines += [f"    {path.start}", f"  → {path.end}"]
    lines += [
        f"  {name}: {reached:.1f} MHz of {wanted:g}" for name, (reached, wanted) in routed.lines.items()
    ]
    lines.append(f"floorplan: {flow.folder / 'floorplan.png'}")
    made = f"{flow.top.config.name} at {flow.top.clock_hz / 1e6:g} MHz, {flow.baud:,} baud"
    return "\n".join([*lines, f"{flow.bitstream}: {made}; {flow.seconds:,.0f} s in all"])


def remedy(target: Board, baud: int, fmax_mhz: float) -> str:
    """Say what can be done where a design reaches only ``fmax_mhz``, which is less than its clock.

    It advises only a clock that the board's PLL can make and its UART can use, because `make bitstream`
    refuses all others.
    """
    lowest: list[int] = []
    for rate, how in ((baud, ""), (SLOW_BAUD, f' with ARGS="--baud {SLOW_BAUD}"')):
        possible = clocks(target, rate)
        if met := [hertz for hertz in possible if hertz <= fmax_mhz * 1e6]:
            return f"take FREQ={decimal(met[-1])}{how}, or try another SEED"
        lowest += possible[:1]
    return (
        'try another SEED, or a smaller accelerator, ARGS="--config …": the lowest clock that the PLL makes '
        f"is {decimal(min(lowest))} MHz"
    )


def listing() -> str:
    """List the boards, each with the presets that fit. Only shapes decide that, so no weights are loaded."""
    rows = [("board", "", "accelerator", "meant for", "clock", "UART", "models that fit")]
    for target in BOARDS.values():
        config = accelerator(target.config)
        models = [name for name, model in PRESETS.items() if fits(GoldenModel.blank(model), config)]
        clock, baud = f"{target.clock_hz / 1e6:g} MHz", f"{target.baud:,} baud"
        rows.append((target.name, target.title, target.config, target.model, clock, baud, ", ".join(models)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def facts_of(target: Board, more: Mapping[str, type] = MappingProxyType({})) -> dict[str, Any] | None:
    """The facts of a board's bitstream that was built here, with ``more`` than a table of sizes needs, by
    their types; None where there is none.

    That is also so where the summary counts for nothing (`hw.bitstream.flow.read_summary`); a line on stderr
    names the board then.
    """
    path = build_folder("boards", target.name) / SUMMARY
    if not path.exists():
        return None
    found = read_summary(path, {"part": str, "available": dict} | dict.fromkeys(RESOURCES, int) | dict(more))
    if found is None:
        say(f"{path} is damaged, or belongs to another bitstream: make bitstream BOARD={target.name}")
    return found


def built() -> str:
    """A Markdown table of the bitstreams that were built here; raises UsageError where there is none."""
    rows = [
        "| board | accelerator | LUT4 | FF | BRAM | DSP | clock, MHz |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for target in BOARDS.values():
        if found := facts_of(target):
            used = (f"{found[resource]:,} of {found['available'][resource]:,}" for resource in RESOURCES)
            clock = f"{found['fmax_mhz']} of {found['clock_mhz']:g}"
            rows.append(
                printable(f"| {found['part']} | `{found['config']}` | {' | '.join(used)} | {clock} |")
            )
    if len(rows) == 2:
        raise UsageError("nothing was built here yet: make bitstream BOARD=…")
    return "\n".join(rows)


@command(interrupted="the stages that ended are kept, and the same command goes on after them")
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="haarlequin bitstream", description="The bitstream of a board, and what it took."
    )
    parser.add_argument("--board", metavar="BOARD", help=f"one of {', '.join(BOARDS)}")
    parser.add_argument("--list", action="store_true", help="the boards, and what fits on each")
    parser.add_argument("--table", action="store_true", help="what was built here, as Markdown")
    parser.add_argument("--config", metavar="CONFIG", help="the accelerator (default: the board's own)")
    parser.add_argument("--freq", type=float, metavar="MHZ", help="clock (default: the board's own)")
    parser.add_argument(
        "--usb", action="store_true", help="with a USB device, where the board has a plug for it"
    )
    parser.add_argument("--serial", help="number of its USB device (default: the board's name)")
    parser.add_argument(
        "--fifo",
        action="store_true",
        help="with an FT232H's synchronous FIFO, where the board has pins for it",
    )
    parser.add_argument("--address", help=f"of a board with Ethernet, IPv4 (default: {DEFAULT})")
    parser.add_argument("--baud", type=int, help="of the UART (default: the board's best)")
    parser.add_argument("--seed", type=int, default=1, help="of the placement (default: 1)")
    parser.add_argument("--placer", choices=PLACERS, help="of nextpnr (default: the board's own)")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    arguments = parser.parse_args(argv)
    with one_line_errors(arguments.verbose):
        _run(arguments)


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
    clock_hz = round(arguments.freq * 1e6) if arguments.freq else None
    target = board(arguments.board)
    target = target.with_usb() if arguments.usb else target
    target = target.with_serial(arguments.serial) if arguments.serial is not None else target
    target = target.with_fifo() if arguments.fifo else target
    make(
        target.with_address(arguments.address) if arguments.address is not None else target,
        arguments.config,
        clock_hz,
        arguments.baud,
        arguments.seed,
        arguments.placer,
    )


def make(
    target: Board,
    config: str | None = None,
    clock_hz: int | None = None,
    baud: int | None = None,
    seed: int = 1,
    placer: str | None = None,
) -> None:
    """Make the bitstream of a board in its folder, and print what it took. The accelerator, its clock, the
    UART's rate and the placer are the board's own where they are not given.

    Raises `BuildError` where it does not fit or misses its clock; other `UsageError`s for what the board
    cannot do.
    """
    clock_hz, baud = clock_hz or target.clock_hz, baud or target.baud
    machine = accelerator(config or target.config)
    flow = Flow(target, machine, clock_hz, baud, build_folder("boards", target.name))
    clock = f"{flow.top.clock_hz / 1e6:g} MHz"
    print(f"{target.title}: {machine.name} at {clock}, {baud:,} baud", flush=True)
    with locked(flow.folder):
        routed = _build(flow, seed, placer or target.placer)
        print(describe(flow, routed))
    if routed.fmax_mhz * 1e6 < flow.top.clock_hz:
        raise BuildError(
            f"{target.name} misses {clock}: it reaches {routed.fmax_mhz:.1f} MHz; "
            f"{remedy(target, baud, routed.fmax_mhz)}"
        )
    for name, (reached, wanted) in routed.missed.items():
        raise BuildError(
            f"{target.name} misses {wanted:g} MHz of {name}: it reaches {reached:.1f} MHz; "
            "try another SEED, or use that line at a lower clock"
        )


def _build(flow: Flow, seed: int, placer: str) -> report.Routed:
    """Run all stages, and write the floorplan and the summary into the folder of the flow."""
    flow.synthesise()
    modules = report.by_module(flow.netlist, flow.family)
    print(report.table(modules), flush=True)
    check_size(modules, flow)
    flow.route(seed, placer)
    routed = report.routed(flow.folder, flow.family)
    flow.pack()
    title = f"{flow.target.title}, {flow.top.config.name}"
    floorplan.draw(flow.folder / PLACED, title, flow.folder / "floorplan.png")
    flow.summarise(**summary(flow, routed, seed))
    return routed
