"""The memories of an accelerator, and how much of each a program uses."""

import plotly.graph_objects as go

from haarlequin.hw.boards.board import Board
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.families import FAMILIES
from haarlequin.sim.report.panel import PALETTE, VEIL, Panel, Section, figure, missing
from haarlequin.sw.compiler import Program
from haarlequin.sw.compiler.resources import memories
from haarlequin.sw.targets import AnyProgram


def section(program: AnyProgram, board: Board) -> Section:
    """The memories of ``board`` with this program in them."""
    lead = "Every memory of the accelerator in kilobits: how much the program uses, and how much stays free."
    command = f"haarlequin compile --plan {program.model.config.name} --config {program.machine.name}"
    if isinstance(program, Program) and isinstance(program.machine, AcceleratorConfig):
        return Section("memories", "Memories", lead, [_panel(program, board, command)])
    what = f"{program.machine.name} is a scalar machine: its memories are words of firmware and data"
    return Section("memories", "Memories", lead, [missing("occupancy", "Occupancy", what, command)])


def _panel(program: Program, board: Board, command: str) -> Panel:
    family = FAMILIES[board.family]
    rows = sorted(memories(program.lowered), key=lambda memory: memory.words * memory.width)
    used = sum(memory.used * memory.width for memory in rows)
    there = sum(memory.words * memory.width for memory in rows)
    blocks = sum(memory.blocks(family) for memory in rows)
    largest = rows[-1]
    bars = []
    for part, colour in (("used", PALETTE[0]), ("free", VEIL)):
        words = [memory.used if part == "used" else memory.words - memory.used for memory in rows]
        bars.append(
            go.Bar(
                name=part,
                orientation="h",
                y=[memory.name for memory in rows],
                x=[count * memory.width / 1024 for count, memory in zip(words, rows, strict=True)],
                marker={"color": colour, "line": {"width": 0}},
                hovertext=[
                    f"<b>{memory.name}</b>: {memory.purpose}<br>{memory.used:,} of {memory.words:,} words of "
                    f"{memory.width} bits<br>{memory.blocks(family)} block RAMs of {family.name}"
                    for memory in rows
                ],
                hoverinfo="text",
            )
        )
    made = figure(
        *bars,
        barmode="stack",
        xaxis={"title": {"text": "size, kbit"}},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    )
    says = (
        f"{program.model.config.name} uses {used / there:.0%} of the bits of {program.machine.name}'s "
        f"memories, which take {blocks} of the chip's {board.capacity['bram']} block RAMs. The largest, "
        f"{largest.name}, is {largest.used / largest.words:.0%} full."
    )
    return Panel("occupancy", "Occupancy", says, command, [made], 120 + 22 * len(rows))
