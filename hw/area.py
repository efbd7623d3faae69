"""`haarlequin area`: the cells of an ECP5 that each block takes.

It synthesises the blocks with the yosys that `hw.bitstream.tools` finds. With `--route` it also places and
routes a slice of four lanes with nextpnr-ecp5.
"""

import argparse
import json
import tempfile
import warnings
from collections import Counter
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Const, Module, Signal, UnusedElaboratable, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from haarlequin.hw.attention.row_maximum import RowMaximum
from haarlequin.hw.attention.softmax import BinarySoftmax
from haarlequin.hw.bitstream.report import by_module
from haarlequin.hw.bitstream.tools import call
from haarlequin.hw.boards import BOARDS
from haarlequin.hw.ends.embedding import Embedding
from haarlequin.hw.ends.head import Head
from haarlequin.hw.families.ecp5 import ECP5
from haarlequin.hw.families.family import RESOURCES
from haarlequin.hw.lanes.binary_lane import BinaryLane
from haarlequin.hw.lanes.haar import HaarSplit
from haarlequin.hw.lanes.lane_array import LaneArray
from haarlequin.hw.lanes.local_convolution import LocalConvolution
from haarlequin.hw.lanes.postprocess import PostProcess
from haarlequin.hw.link.ethernet.address import Address
from haarlequin.hw.link.ethernet.line import EthernetLine
from haarlequin.hw.link.fifo import FifoMaster
from haarlequin.hw.link.spi import SpiSlave
from haarlequin.models.common import cli
from haarlequin.models.presets import preset
from haarlequin.models.widths import Widths

BANK_DEPTH = 512
"""Words of a bank: as many as one block RAM of an ECP5 holds when they are 36 bits wide."""

TOKENS = preset("cifar10-tiny").tokens
"""Bits of a lane's weights that V takes: one for each token."""


class Slice(wiring.Component):
    """Lanes with both their banks, as a slice of the machine that can be placed and routed alone.

    Bank A gives partial sums and shortcuts, bank B gives residuals, and ``store`` writes the result y into
    either. Every input waits one cycle in a register.
    """

    def __init__(self, lanes: int, width: int, widths: Widths):
        self.array = LaneArray(lanes, width, min(width, TOKENS), widths)
        self.wide = data.ArrayLayout(signed(widths.wide), lanes)
        inputs = (
            "activation",
            "gate",
            "context",
            "differential",
            "balance",
            "centre",
            "load",
            "weights",
            "shift",
            "begin",
            "swap",
            "load_constants",
        )
        self.inputs = (*inputs, "constants", "take", "token")
        ports = {name: In(self.array.signature.members[name].shape) for name in self.inputs}
        addresses = {f"{name}_address": In(range(BANK_DEPTH)) for name in ("a", "b", "result")}
        super().__init__(ports | addresses | {"store": In(2), "bits": Out(lanes), "clipped": Out(2 * lanes)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.array = array = self.array
        for name in self.inputs:
            # Inputs are registered, so that the longest path lies within the lanes.
            m.d.sync += getattr(array, name).eq(getattr(self, name))
        for i, (name, operands) in enumerate({"a": ("partial", "shortcut"), "b": ("residual",)}.items()):
            m.submodules[f"bank_{name}"] = bank = Memory(shape=self.wide, depth=BANK_DEPTH, init=[])
            read, write = bank.read_port(), bank.write_port()
            store = Signal()
            m.d.sync += [store.eq(self.store[i]), write.addr.eq(self.result_address)]
            m.d.comb += [read.addr.eq(getattr(self, f"{name}_address")), write.en.eq(store)]
            m.d.comb += write.data.eq(array.y)
            # A block RAM answers slowly: without this register its output was the longest path, 14.5 ns.
            m.d.sync += [getattr(array, operand).eq(read.data) for operand in operands]
        m.d.sync += [self.bits.eq(array.bits), self.clipped.eq(array.clipped)]
        return m


def synthesise(design: wiring.Component, folder: Path) -> Path:
    """Write the ECP5 netlist of a design, as JSON, into the folder; returns its path."""
    members = [Value.cast(port) for _, _, port in design.signature.flatten(design)]
    # The ready of an always-ready stream is a constant and not a port.
    ports = [port for port in members if not isinstance(port, Const)]
    text = rtlil.convert(design, ports=ports, platform=BOARDS["ulx3s-85f"].platform())
    (folder / "top.il").write_text(text, encoding="utf-8")
    synth = f"{ECP5.synth} {ECP5.synth_opts} -top top"
    script = f"read_rtlil top.il\n{ECP5.prepare}\n{synth}\nwrite_json top.json\n"
    (folder / "top.ys").write_text(script, encoding="utf-8")
    call("yosys", ["-q", "-s", "top.ys"], folder)
    return folder / "top.json"


def count(netlist: Path) -> dict[str, int]:
    """The number of cells of a netlist for each resource."""
    totals: Counter[str] = sum(by_module(netlist, ECP5).values(), Counter())
    return {resource.upper(): totals[resource] for resource in RESOURCES}


def route(netlist: Path, seed: int) -> str:
    """Place and route a netlist for an ECP5-85F.

    The text that is returned names the cells used, the clock reached, and the ends of the longest path.
    """
    report = netlist.with_name("report.json")
    arguments = ["--85k", "--package", "CABGA381", "--json", netlist.name, "--report", report.name]
    arguments += ["--out-of-context", "--seed", str(seed), "--freq", "100", "--timing-allow-fail", "--quiet"]
    call("nextpnr-ecp5", arguments, netlist.parent)
    figures = json.loads(report.read_text(encoding="utf-8"))
    (clock,) = figures["fmax"].values()
    path = next(path for path in figures["critical_paths"] if path["from"] == path["to"])["path"]
    cells = [path[0]["from"]["cell"], path[-1]["to"]["cell"]]
    delay = sum(part["delay"] for part in path)
    used = [f"{name} {value['used']}" for name, value in figures["utilization"].items() if value["used"]]
    return (
        f"routed, seed {seed}: {clock['achieved']:.1f} MHz; {', '.join(used)}\n"
        f"longest path, {delay:.1f} ns: {cells[0]} → {cells[1]}"
    )


@cli.command
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="haarlequin area", description="The cells of an ECP5 that each block takes."
    )
    parser.add_argument("--width", type=int, default=128, help="K, weight bits of a lane (default: 128)")
    parser.add_argument("--route", action="store_true", help="also route the slice of four lanes (minutes)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the placement (default: 1)")
    arguments = parser.parse_args(argv)
    warnings.simplefilter("ignore", UnusedElaboratable)  # Ctrl-C leaves blocks that were never elaborated
    with cli.one_line_errors(verbose=False):
        _report(arguments.width, arguments.route, arguments.seed)


def _report(width: int, routed: bool, seed: int) -> None:
    widths = Widths()
    blocks = {
        f"lane's array, {width} bits": BinaryLane(width, min(width, TOKENS)),
        "lane's post-processing": PostProcess(widths, widths.wide),
        "eight lanes' Haar split": HaarSplit(8, widths.wide, max_columns=16),
        "eight lanes' local convolution": LocalConvolution(8, 3, 16, widths.local_shift),
        "softmax, 32 scores per cycle": BinarySoftmax(32, widths, 4, widths.wide),
        "row maximum, 64 lanes": RowMaximum(64, widths.wide, max_rows=64),
        "embedding of cifar10-tiny, 13 at once": Embedding(13, widths, 64, 128, 48, 2 * 3072, 8192, 8192),
        "head, 10 classes of 128 channels": Head(widths, 64, 128, 10),
        "SPI slave": SpiSlave(),
        "FT232H's FIFO": FifoMaster(),
        "Ethernet with UDP": EthernetLine(Address()),
        f"four lanes × {width} with their banks": Slice(4, width, widths),
    }
    print(f"{'block':<40}" + "".join(f"{resource.upper():>8}" for resource in RESOURCES))
    with tempfile.TemporaryDirectory() as scratch:
        for name, design in blocks.items():
            netlist = synthesise(design, Path(scratch))
            figures = count(netlist)
            print(f"{name:<40}" + "".join(f"{count:>8}" for count in figures.values()), flush=True)
        if routed:
            print(route(netlist, seed))
