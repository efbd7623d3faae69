"""Where the cycles of an image go: its timeline from the RTL's trace, its operations, and a roofline."""

import json
import math
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from haarlequin.hw.codes import OperationCode
from haarlequin.models.common.places import build_folder
from haarlequin.sim.report.panel import GREY, PALETTE, Panel, Section, figure, missing
from haarlequin.sw.compiler import Program
from haarlequin.sw.compiler.resources import Operation, ideal_cycles
from haarlequin.sw.targets import AnyProgram

TIMELINE = "timeline.json"
"""The file that `make sim` writes for the last model, beside its summary."""


def section(program: AnyProgram) -> Section:
    """The cycles of an image of a program."""
    name, machine = program.model.config.name, program.machine.name
    lead = (
        "The time of one image. The program is a list of passes; in a pass, all tokens stream through the "
        "lanes, each of which compares one channel's weights with a word of signs in each cycle: products "
        "of bits, bit-MACs."
    )
    panels = [_timeline(name, machine)]
    if isinstance(program, Program):
        command = f"haarlequin compile --plan {name} --config {machine}"
        panels += [_operations(program, command), _roofline(program, command)]
    return Section("cycles", "Where cycles go", lead, panels)


def colours() -> dict[str, str]:
    """The colour of each operation, by its title: the same in every figure."""
    titles = [code.title for code in OperationCode]
    return {title: PALETTE[number % len(PALETTE)] for number, title in enumerate(titles)}


def timeline_file(model: str) -> Path:
    """The timeline of a model's image that `make sim` left."""
    return build_folder("sim", model, TIMELINE)


def read_timeline(model: str) -> dict[str, Any] | None:
    """The timeline that `sim.timeline` made of an image of this model; None without one that can be read."""
    try:
        found = json.loads(timeline_file(model).read_text(encoding="utf-8"))
        whole = {"machine", "cycles"} <= found.keys() and found["spans"] and found["units"]
        return found if whole else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _timeline(model: str, machine: str) -> Panel:
    title, command = f"Timeline of an image on {machine}", f"make sim MODEL={model} CONFIG={machine}"
    found = read_timeline(model)
    if found is None:
        what = f"No image of {model} has been simulated here (minutes)."
        return missing("timeline", title, what, command)
    length, units = found["cycles"], found["units"]
    if found["machine"] != machine:
        title, command = (
            f"Timeline of an image on {found['machine']}",
            f"make sim MODEL={model} CONFIG={found['machine']}",
        )
    groups: dict[str, list[dict]] = {}
    known, bars = colours(), []
    for span in found["spans"]:
        # What a unit beside the array does has the unit's name.
        groups.setdefault(span["operation"] if span["operation"] in known else span["unit"], []).append(span)
    for operation, spans in groups.items():
        bars.append(
            go.Bar(
                name=operation,
                showlegend=operation in known,
                orientation="h",
                y=[span["unit"] for span in spans],
                base=[span["start"] for span in spans],
                x=[span["stop"] - span["start"] for span in spans],
                marker={"color": known.get(operation, GREY), "line": {"width": 0}},
                hovertext=[_span(span) for span in spans],
                hoverinfo="text",
            )
        )
    made = figure(
        *bars,
        barmode="overlay",
        bargap=0.25,
        xaxis={"title": {"text": "cycles since the image began"}, "range": [0, length]},
        yaxis={"categoryorder": "array", "categoryarray": units[::-1]},
        legend={"orientation": "h", "y": -0.28},
    )
    busy = sum(
        max(0, min(span["stop"], length) - max(span["start"], 0))
        for span in found["spans"]
        if span["unit"] == "array"
    )
    says = (
        f"From its first pass to its last an image takes {length:,} cycles; the array is at work in "
        f"{busy / length:.0%} of them. Units in grey work beside it, on the same image or the next."
    )
    return Panel("timeline", title, says, command, [made], 190 + 34 * len(units), wide=True)


def _span(span: dict) -> str:
    """One bar, for a person who points at it."""
    lines = [f"<b>{span['name']}</b>", span["operation"]]
    if span["pass"] is not None:
        lines.append(f"pass {span['pass']}, {span['tokens']} tokens")
    lines.append(f"cycles {span['start']:,} to {span['stop']:,}: {span['stop'] - span['start']:,}")
    return "<br>".join(lines)


def _operations(program: Program, command: str) -> Panel:
    machine = program.machine
    rows = sorted((each for each in program.operations() if each.cycles), key=lambda each: each.cycles)
    first = rows[-1]
    bar = go.Bar(
        orientation="h",
        y=[each.name for each in rows],
        x=[each.cycles for each in rows],
        marker={"color": [colours()[each.name] for each in rows], "line": {"width": 0}},
        hovertext=[
            f"<b>{each.name}</b><br>{each.cycles:,} cycles, "
            f"{each.cycles / program.cycles:.1%}<br>{each.passes} passes<br>{each.bit_macs:,} bit-MACs, "
            f"lanes {each.busy(machine):.1%} busy"
            for each in rows
        ],
        hoverinfo="text",
        showlegend=False,
    )
    bar.text = [f"{each.busy(machine):.0%} busy" if each.bit_macs else "no products" for each in rows]
    made = figure(bar, xaxis={"title": {"text": "cycles of an image"}})
    ideal = ideal_cycles(program.model.config, machine)
    says = (
        f"{first.name.capitalize()} bounds the rate: {first.cycles:,} of {program.cycles:,} cycles on "
        f"{machine.name}, {first.cycles / program.cycles:.0%}. The products of all operations would take "
        f"{ideal:,.0f} if no lane ever waited, {ideal / program.cycles:.0%}."
    )
    return Panel("operations", "Operations", says, command, [made], 90 + 30 * len(rows))


def loaded_bits(program: Program, name: str) -> int:
    """Bits of weights or keys that an operation of that name loads into the lanes, for an image."""
    lowered = program.lowered
    tiles = sum(
        bool(item["load_weights"] or item["load_keys"])
        for item in lowered.passes
        if OperationCode(item["operation"]).title == name
    )
    return tiles * lowered.machine.lanes * lowered.machine.width


def _roofline(program: Program, command: str) -> Panel:
    machine = program.machine
    most = machine.lanes * machine.width
    dots: list[tuple[Operation, float, float]] = []
    for each in program.operations():
        loaded = loaded_bits(program, each.name)
        if each.bit_macs and loaded:
            dots.append((each, each.bit_macs / loaded, each.bit_macs / each.cycles))
    low = min(x for _, x, _ in dots) / 2
    high = max(max(x for _, x, _ in dots), machine.lanes) * 4
    roof = go.Scatter(
        x=[low, machine.lanes, high],
        y=[low * machine.width, most, most],
        mode="lines",
        line={"color": GREY, "width": 2},
        hoverinfo="skip",
        showlegend=False,
    )
    # Operations of the same shape lie on each other, and share a dot.
    places: dict[tuple[float, float], list[Operation]] = {}
    for each, x, y in dots:
        places.setdefault((x, y), []).append(each)
    scatter = go.Scatter(
        x=[x for x, _ in places],
        y=[y for _, y in places],
        mode="markers+text",
        marker={"size": 12, "color": [colours()[some[0].name] for some in places.values()]},
        hovertext=[
            f"<b>{', '.join(each.name for each in some)}</b><br>{x:.1f} bit-MACs for each bit "
            f"loaded<br>{y:,.0f} bit-MACs a cycle, {y / most:.0%} of {most:,}"
            for (x, y), some in places.items()
        ],
        hoverinfo="text",
        textposition="bottom center",
        cliponaxis=False,
        showlegend=False,
    )
    scatter.text = [",<br>".join(each.name for each in some) for some in places.values()]
    least = min(y for _, _, y in dots) / 2
    made = figure(
        roof,
        scatter,
        xaxis={"title": {"text": "bit-MACs per bit loaded into lanes, log"}, **_doublings(low, high)},
        yaxis={"title": {"text": "bit-MACs a cycle, log"}, **_doublings(least, most * 1.5)},
    )
    slow, _, reached = min(dots, key=lambda dot: dot[2])
    says = (
        f"{machine.name} makes {most:,} products of bits a cycle at most, and loads {machine.width} bits of "
        f"weights in one. {slow.name.capitalize()} is furthest below: {reached:,.0f} a cycle, "
        f"{reached / most:.0%}."
    )
    return Panel("roofline", "Roofline", says, command, [made], 430)


def _doublings(low: float, high: float) -> dict[str, object]:
    """A logarithmic axis from ``low`` to ``high`` with its ticks at the powers of two."""
    ticks = [2**power for power in range(math.floor(math.log2(low)), math.ceil(math.log2(high)) + 1)]
    return {"type": "log", "range": [math.log10(low), math.log10(high)], "tickvals": ticks}
