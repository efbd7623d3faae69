"""A folder as `make bitstream` leaves it, of a design with a handful of cells."""

import json
from pathlib import Path

from haarlequin.hw.bitstream.flow import PLACED, SUMMARY
from haarlequin.hw.families import FAMILIES
from haarlequin.hw.families.family import REPORT
from haarlequin.models.common import stamps

NETLIST = FAMILIES["ecp5"].netlist

CELLS = {
    "accelerator.machine.layers.array.lane_0.a": ("LUT4", "X3/Y4/SLICEA.LUT0"),
    "accelerator.machine.layers.array.lane_1.b": ("LUT4", "X3/Y4/SLICEA.LUT1"),
    "accelerator.machine.layers.haar.c": ("LUT4", "X5/Y4/SLICEA.LUT0"),
    "accelerator.machine.bus.d": ("TRELLIS_FF", "X5/Y9/SLICEA.FF0"),
    "accelerator.link.e": ("LUT4", "X5/Y9/SLICEA.LUT1"),
    "rst_0__io": ("TRELLIS_IO", "X0/Y1/PIOA"),
}
"""By the name of a cell, its type and place."""

PATH = ("accelerator.machine.layers.haar.c", "accelerator.machine.layers.array.lane_0.a")
"""The ends of the critical path: 1 ns of logic and 3 of wires."""

FACTS = {
    "board": "ulx3s-25f",
    "part": "ULX3S, LFE5U-25F",
    "config": "8x64-hybrid",
    "lut4": 6,
    "ff": 1,
    "bram": 0,
    "dsp": 0,
    "available": {"lut4": 24288, "ff": 24288, "bram": 56, "dsp": 28},
    "clock_mhz": 60.0,
    "fmax_mhz": 250.0,
    "baud": 3000000,
    "met": True,
}


def routed(folder: Path) -> None:
    """Write the files of a routed ECP5 board."""
    folder.mkdir(parents=True)
    cells = {name: {"type": kind} for name, (kind, _) in CELLS.items()}
    placed = {name: {"attributes": {"NEXTPNR_BEL": bel}} for name, (_, bel) in CELLS.items()}
    ends = [{"cell": name, "loc": [4 + number, 4], "port": "A"} for number, name in enumerate(PATH)]
    path = [
        {"type": "logic", "delay": 1.0, "from": ends[0], "to": ends[0]},
        {"type": "routing", "delay": 3.0, "from": ends[0], "to": ends[1]},
    ]
    clock = "posedge $glbnet$accelerator.clk"
    other = {"from": "posedge $glbnet$spi.sck_clk", "to": "posedge $glbnet$spi.sck_clk", "path": path * 9}
    report = {"critical_paths": [other, {"from": clock, "to": clock, "path": path}]}
    for name, content in ((NETLIST, cells), (PLACED, placed)):
        text = json.dumps({"modules": {"top": {"cells": content}}})
        (folder / name).write_text(text, encoding="utf-8")
    (folder / REPORT).write_text(json.dumps(report), encoding="utf-8")
    (folder / "top.bit").write_bytes(b"bits")
    stamps.write(folder / SUMMARY, stamps.digest(), [folder / "top.bit"], **FACTS)
