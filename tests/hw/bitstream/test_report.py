import json
from collections import Counter

from haarlequin.hw.bitstream import report
from haarlequin.hw.families import FAMILIES

ECP5 = FAMILIES["ecp5"]


def test_cells_are_counted_where_they_lie(tmp_path):
    cells = {
        "accelerator.machine.layers.array.lane_3.sum_LUT4_Z": "LUT4",
        "accelerator.machine.layers.array.lane_17.sum_LUT4_Z_1": "LUT4",
        "accelerator.machine.layers.array.carry": "CCU2C",
        "accelerator.machine.layers.bank_a.ram.0": "DP16KD",
        "accelerator.link.state": "TRELLIS_FF",
        "uart.slots": "TRELLIS_DPR16X4",
        "lamp": "LUT4",
        "pin": "TRELLIS_IO",
    }
    netlist = tmp_path / "top.json"
    netlist.write_text(
        json.dumps({"modules": {"top": {"cells": {k: {"type": v} for k, v in cells.items()}}}})
    )
    assert report.by_module(netlist, ECP5) == {
        "accelerator.machine.layers.array": Counter(lut4=4),
        "accelerator.machine.layers.bank_a": Counter(bram=1),
        "accelerator.link": Counter(ff=1),
        "uart": Counter(lut4=6),
        "top": Counter(lut4=1),
    }


def test_the_clock_is_the_slowest_path_within_a_domain(tmp_path):
    def path(kind, start, end, *delays):
        parts = [{"delay": delay, "type": kind_} for kind_, delay in delays]
        parts = [part | {"from": {"cell": start}, "to": {"cell": end}} for part in parts]
        return {"from": kind[0], "to": kind[1], "path": parts}

    # The accelerator's clock may be named after a port of a line's module, and a line's clock may be slow.
    own, usb = "$glbnet$usb.crossing_in.clk", "$glbnet$usb.crossing_in.usb_clk"
    paths = [
        path((f"posedge {usb}", f"posedge {usb}"), "u", "v", ("clk-to-q", 0.5), ("routing", 16.5)),
        path(
            (f"posedge {own}", f"posedge {own}"),
            "x",
            "y",
            ("clk-to-q", 0.5),
            ("routing", 2.5),
            ("setup", 1.0),
        ),
        path(
            (f"posedge {own}", f"posedge {own}"),
            "p",
            "q",
            ("clk-to-q", 0.5),
            ("routing", 4.0),
            ("setup", 0.5),
        ),
        path(("<async>", f"posedge {own}"), "pin", "z", ("source", 0.0), ("routing", 30.0)),
    ]
    used = {"TRELLIS_COMB": {"used": 12, "available": 24}, "DP16KD": {"used": 3, "available": 56}}
    fmax = {
        own: {"achieved": 200.0, "constraint": 60.0},
        "spi.sck": {"achieved": 49.9, "constraint": 50.0},
        usb: {"achieved": 70.0, "constraint": 50.0},
        "clk25": {"achieved": 20.0, "constraint": 25.0},
    }
    text = json.dumps({"critical_paths": paths, "utilization": used, "fmax": fmax})
    (tmp_path / "report.json").write_text(text)
    routed = report.routed(tmp_path, ECP5)
    assert routed.lines == {"spi.sck": (49.9, 50.0), usb: (70.0, 50.0)}
    assert routed.missed == {"spi.sck": (49.9, 50.0)}
    assert routed.fmax_mhz == 200.0
    assert (routed.path.start, routed.path.end, routed.path.routing) == ("p", "q", 4.0)
    assert routed.usage == {"lut4": (12, 24), "ff": (0, 0), "bram": (3, 56), "dsp": (0, 0)}


def test_a_logic_cell_of_an_ice40_has_a_flip_flop_too(tmp_path):
    """Its report has no flip-flops: the netlist has."""
    cells = {
        "a.x": "SB_DFFESR",
        "a.y": "SB_DFF",
        "a.z": "SB_LUT4",
        "a.m": "SB_RAM40_4K",
        "a.s": "SB_SPRAM256KA",
    }
    netlist = {"modules": {"top": {"cells": {name: {"type": kind} for name, kind in cells.items()}}}}
    (tmp_path / "top.json").write_text(json.dumps(netlist))
    parts = [{"delay": 20.0, "type": "routing", "from": {"cell": "x"}, "to": {"cell": "y"}}]
    paths = [{"from": "posedge a", "to": "posedge a", "path": parts}]
    used = {"ICESTORM_LC": {"used": 3, "available": 5280}, "ICESTORM_RAM": {"used": 1, "available": 30}}
    text = json.dumps({"critical_paths": paths, "utilization": used, "fmax": {}})
    (tmp_path / "report.json").write_text(text)
    routed = report.routed(tmp_path, FAMILIES["ice40"])
    assert routed.usage == {"lut4": (3, 5280), "ff": (2, 5280), "bram": (1, 30), "dsp": (0, 0)}


def test_the_clock_of_a_usb_phy_is_a_lines():
    """nextpnr names it after the buffer of its pin."""
    assert report.of_line("$glbnet$ulpi_clk.buf.i")
    assert not report.of_line("$glbnet$accelerator.clk")
