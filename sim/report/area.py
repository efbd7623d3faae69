"""Where the area of a routed board goes, and where it lies: modules, floorplan, critical path."""

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import plotly.graph_objects as go

from haarlequin.hw.bitstream.floorplan import sites
from haarlequin.hw.bitstream.flow import PLACED, SUMMARY, read_summary
from haarlequin.hw.bitstream.report import by_module, module, worst_path
from haarlequin.hw.boards.board import Board
from haarlequin.hw.families import FAMILIES
from haarlequin.hw.families.family import REPORT, RESOURCES
from haarlequin.models.common.places import build_folder
from haarlequin.sim.report.panel import GREY, PALETTE, Panel, Section, figure, missing

CONTAINERS = ("accelerator.machine.layers", "accelerator.machine", "accelerator")
"""Modules that consist of others: these have colours of their own, and not what is within them."""

SLATE = "#5d6873"
"""For modules that only hold others."""


def section(board: Board) -> Section:
    """The area of what was routed for a board."""
    folder, command = build_folder("boards", board.name), f"make bitstream BOARD={board.name}"
    facts = facts_of(board)
    panels = []
    with suppress(OSError, ValueError, LookupError, TypeError):  # files that are missing, or cut off
        if facts:
            counts = by_module(folder / FAMILIES[board.family].netlist, FAMILIES[board.family])
            colours = _colours(counts, {module(end) for end in _ends(folder)})
            panels = [_modules(counts, facts, colours, command), _floorplan(folder, colours, command)]
    if not panels:
        what = f"No bitstream for {board.title} has been made here (minutes to an hour)."
        for name in ("modules", "floorplan"):
            panels.append(missing(name, name.capitalize(), what, command))
    lead = (
        f"{board.title}: what yosys, which makes a netlist, and nextpnr, which places and routes it, made of "
        "the accelerator. LUT4 is a lookup table of four inputs, FF a flip-flop, BRAM a block RAM, DSP a "
        "multiplier. A box is a module within the one that holds it."
    )
    return Section("area", "Where area goes", lead, panels)


def facts_of(board: Board) -> dict | None:
    """The facts of what was routed for a board; None without it."""
    kinds = dict.fromkeys(RESOURCES, int) | {"available": dict}
    return read_summary(build_folder("boards", board.name) / SUMMARY, kinds)


def short(name: str) -> str:
    """A module's name without the parts that most have."""
    return name.removeprefix("accelerator.").removeprefix("machine.")


def head(name: str) -> str:
    """The module that decides the colour of ``name``: the first level within one of `CONTAINERS`."""
    for container in CONTAINERS:
        if name.startswith(f"{container}."):
            return ".".join(name.split(".")[: container.count(".") + 2])
    return name.split(".")[0]


def _colours(counts: Mapping[str, Counter[str]], ends: set[str]) -> dict[str, str]:
    """By `head`, the colour of a module in every figure: the largest ones, and those where the critical path
    ends, have their own.
    """
    sizes: Counter[str] = Counter()
    for name, each in counts.items():
        sizes[head(name)] += each["lut4"]
    special = {head(end) for end in ends}
    names = sorted(sizes, key=lambda name: (name not in special, -sizes[name]))
    names = sorted(names[: len(PALETTE)], key=lambda name: -sizes[name]) + names[len(PALETTE) :]
    return {name: PALETTE[i] if i < len(PALETTE) else GREY for i, name in enumerate(names)}


def _taken(facts: dict) -> str:
    """How much of the chip the whole design takes."""
    parts = []
    for resource in RESOURCES:
        used, there = facts[resource], facts["available"][resource]
        parts.append(
            f"{used:,} of {there:,} {resource.upper()}" + (f" ({used / there:.0%})" if there else "")
        )
    return ", ".join(parts)


def _modules(
    counts: Mapping[str, Counter[str]], facts: dict, colours: Mapping[str, str], command: str
) -> Panel:
    plots = []
    for resource in RESOURCES:
        total = sum(each[resource] for each in counts.values())
        if total:
            title = {"text": f"{resource.upper()}: {total:,}", "x": 0.5}
            plots.append(figure(_treemap(counts, resource, colours), title=title))
            # Names that do not fit are left out: who points at a box, sees them.
            plots[-1].update_layout(margin={"t": 36}, uniformtext={"minsize": 10, "mode": "hide"})
    sizes: Counter[str] = Counter()
    for name, each in counts.items():
        sizes[head(name)] += each["lut4"]
    ((name, largest),) = sizes.most_common(1)
    whole = sizes.total()
    says = (
        f"The largest module of {facts['config']} is {short(name)}: {largest:,} of the netlist's {whole:,} "
        f"LUT4, {largest / whole:.0%}. Routed, with carries, the design takes {_taken(facts)}."
    )
    return Panel("modules", "Modules", says, command, plots, 400, 420, wide=True)


def _treemap(counts: Mapping[str, Counter[str]], resource: str, colours: Mapping[str, str]) -> go.Treemap:
    """Every module within the one that it is in."""
    values: Counter[str] = Counter()
    for name, each in counts.items():
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            values[".".join(parts[:depth])] += each[resource]
    shown = [name for name in values if values[name]]
    told = f"%{{value:,}} {resource.upper()}<br>%{{percentRoot:.1%}} of all<extra></extra>"
    return go.Treemap(
        ids=shown,
        labels=[name.rpartition(".")[2] for name in shown],
        parents=[name.rpartition(".")[0] for name in shown],
        values=[values[name] for name in shown],
        branchvalues="total",
        marker={"colors": [SLATE if name in CONTAINERS else colours.get(head(name), GREY) for name in shown]},
        texttemplate="%{label}<br>%{value:,}",
        hovertemplate=f"<b>%{{id}}</b><br>{told}",
        maxdepth=4,
        tiling={"pad": 1},
        pathbar={"visible": False},
        textfont={"color": "#ffffff"},
    )


def _ends(folder: Path) -> tuple[str, str]:
    """The cells at both ends of the critical path."""
    path = worst_path(json.loads((folder / REPORT).read_text(encoding="utf-8")))
    return path[0]["from"]["cell"], path[-1]["to"]["cell"]


def _floorplan(folder: Path, colours: Mapping[str, str], command: str) -> Panel:
    tiles: dict[tuple[int, int], Counter[str]] = {}
    for name, some in sites(folder / PLACED).items():
        for site in some:
            tiles.setdefault(site, Counter())[head(name)] += 1
    groups: dict[str, list[tuple[int, int]]] = {}
    for site, inside in tiles.items():
        name = inside.most_common(1)[0][0]
        own = colours.get(name, GREY) != GREY
        groups.setdefault(name if own else "others", []).append(site)
    columns, rows = (max(site[axis] for site in tiles) + 1 for axis in (0, 1))
    dots = [
        go.Scatter(
            x=[x for x, _ in some],
            y=[y for _, y in some],
            mode="markers",
            name=short(name),
            marker={"symbol": "square", "size": max(2, 480 // columns), "color": colours.get(name, GREY)},
            hovertext=[_tile(site, tiles[site]) for site in some],
            hoverinfo="text",
        )
        for name, some in sorted(groups.items(), key=lambda group: -len(group[1]))
    ]
    path = worst_path(json.loads((folder / REPORT).read_text(encoding="utf-8")))
    places = [path[0]["from"], *(part["to"] for part in path)]
    xs, ys = ([place["loc"][axis] for place in places] for axis in (0, 1))
    # Black on white can be told from every module, on a light and on a dark page.
    under = go.Scatter(x=xs, y=ys, mode="lines", line={"color": "#ffffff", "width": 7}, hoverinfo="skip")
    under.showlegend = False
    line = go.Scatter(
        x=xs,
        y=ys,
        mode="lines+markers",
        name="critical path, from ○ to ◆",
        line={"color": "#000000", "width": 3},
        marker={
            "symbol": ["circle-open", *["circle"] * (len(places) - 2), "diamond"],
            "size": [13, *[5] * (len(places) - 2), 13],
            "color": "#000000",
            "line": {"color": "#ffffff", "width": 2},
        },
        hovertext=[f"<b>critical path</b><br>{short(place['cell'])}" for place in places],
        hoverinfo="text",
    )
    bare = {"showgrid": False, "zeroline": False, "constrain": "domain"}
    made = figure(
        *dots,
        under,
        line,
        xaxis={"title": {"text": "column of tiles"}, "range": [-1, columns], **bare},
        yaxis={"title": {"text": "row of tiles"}, "range": [rows, -1], "scaleanchor": "x", **bare},
        legend={"orientation": "h", "y": -0.15, "itemsizing": "constant"},
    )
    nanoseconds = sum(part["delay"] for part in path)
    wires = sum(part["delay"] for part in path if part["type"] == "routing")
    ends = [short(module(places[index]["cell"])) for index in (0, -1)]
    way = f"within {ends[0]}" if ends[0] == ends[1] else f"from {ends[0]} to {ends[1]}"
    says = (
        f"The critical path takes {nanoseconds:.1f} ns, so that the clock can be {1000 / nanoseconds:.1f} "
        f"MHz; {wires / nanoseconds:.0%} of it are wires. It is {way}. A tile has the colour of the module "
        "with most cells in it."
    )
    return Panel("floorplan", "Floorplan", says, command, [made], 640, wide=True)


def _tile(site: tuple[int, int], inside: Counter[str]) -> str:
    lines = [f"column {site[0]}, row {site[1]}"]
    lines += [f"{short(name)}: {count} cells" for name, count in inside.most_common(4)]
    return "<br>".join(lines)
