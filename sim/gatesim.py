"""`make gatesim BOARD=…`: what yosys made for a board, gate by gate, against the golden model.

The netlist is the one that nextpnr places, with its PLL and pins. The host's own code loads its memories and
sends its images through the UART pins. Exit codes: 1 is a difference or a simulation that failed, 2 is usage
or build.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from haarlequin.hw.bitstream.flow import Flow
from haarlequin.hw.boards import BOARDS, board
from haarlequin.hw.link.usb import USB_HZ
from haarlequin.hw.presets import accelerator
from haarlequin.models.common import ledger
from haarlequin.models.common.cli import command, one_line_errors
from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.files import locked, write_text
from haarlequin.models.common.places import build_folder
from haarlequin.sim import gates
from haarlequin.sim.workload import workload
from haarlequin.sw.devices.device import CompiledModel, DeviceError
from haarlequin.sw.devices.link import LinkDevice
from haarlequin.sw.devices.simulated import SimulatedLine
from haarlequin.sw.targets import compile_model
from haarlequin.sw.verilated.accelerator import say

ERASED = 1
"""The bit that an empty flash answers, so that nothing boots from it."""


SPI = gates.SpiPins(*(f"host_spi_0__{pin}__io" for pin in ("sck", "cs", "copi", "cipo")))
"""The pins of `hw.boards.board.spi_resource`."""


def simulator(flow: Flow, folder: Path, by: str = "uart") -> Path:
    """The simulator of a board's netlist, built in ``folder`` if it is not there yet.

    The board is reached ``by`` its uart, spi or usb. The bench has `hw.families.pll.Setting.ratio` cycles for
    one of the accelerator.
    """
    ratio = flow.top.setting.ratio
    clock, rx, tx = f"{flow.platform.default_clk}_0__io", "uart_0__rx__io", "uart_0__tx__io"
    ties = {name: 0 for name, (direction, _) in gates.pins(flow.netlist).items() if direction == "input"}
    del ties[clock], ties[rx]
    released = flow.platform.lookup(flow.target.reset, 0).ios[0].invert
    spi = SPI if by == "spi" else None
    bit = ratio * flow.top.setting.hertz // USB_HZ
    usb = gates.UsbPins("usb_0__d_p__io", "usb_0__d_n__io", "usb_0__pullup__io", bit) if by == "usb" else None
    reached = [SPI.sck, SPI.cs, SPI.copi] if spi else []
    reached += [usb.d_p + gates.INWARD, usb.d_n + gates.INWARD] if usb else []
    for pin in reached:
        del ties[pin]
    for name in ties:
        if name.endswith("__cipo__io"):
            ties[name] = ERASED
        elif name == SPI.cs:
            ties[name] = 1  # the pin has a pull-up
        elif name == f"{flow.target.reset}_0__io":
            ties[name] = int(released)
    return gates.simulate(
        flow.netlist,
        flow.target.family,
        flow.top.divisor * ratio,
        folder,
        clock=clock,
        rx=rx,
        tx=tx,
        ties=ties,
        spi=spi,
        usb=usb,
        notice=say,
    )


@command(interrupted="a netlist and a simulator that were made are kept")
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="haarlequin gatesim",
        description="What yosys made for a board, gate by gate, against the golden model.",
    )
    parser.add_argument("--board", metavar="BOARD", help=f"one of {', '.join(BOARDS)}")
    parser.add_argument("--model", default="digits", help="a trained model or an ONNX file (default: digits)")
    parser.add_argument("--config", metavar="CONFIG", help="the accelerator (default: the board's own)")
    parser.add_argument(
        "--divisor", type=int, help="clock cycles per bit of the UART, at least 4 (default: the board's)"
    )
    parser.add_argument("--images", type=int, default=1, help="how many (default: 1)")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="the data set of a trained model, for its test images",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    arguments = parser.parse_args(argv)
    with one_line_errors(arguments.verbose, failures=(DeviceError,)):
        if not arguments.board:
            raise UsageError(f"BOARD=… is one of {', '.join(BOARDS)}")
        target = board(arguments.board)
        config = accelerator(arguments.config or target.config)
        if arguments.images < 1:
            raise UsageError(f"--images must be at least 1, not {arguments.images}")
        if arguments.divisor is not None and arguments.divisor < 4:
            raise UsageError(f"--divisor must be at least 4, not {arguments.divisor}")
        baud = target.clock_hz // arguments.divisor if arguments.divisor else target.baud
        own = config.name == target.config and baud == target.baud
        name = target.name if own else f"{target.name}-{config.name}-{baud}"
        flow = Flow(target, config, target.clock_hz, baud, build_folder("boards", name))
        exact = run(flow, arguments.model, arguments.images, arguments.data)
    if not exact:
        sys.exit(1)


def run(flow: Flow, name: str, count: int, data: Path | None = None) -> bool:
    """Synthesise, build, load and compare, and write gatesim.json; returns whether all answers were equal."""
    began = time.monotonic()
    with locked(flow.folder):
        flow.synthesise()
        folder = simulator(flow, flow.folder / "gates")
        what = workload(name, [], count, data)
        tables = compile_model(what.model, flow.top.config, check=False).compiled()
        ratio = flow.top.setting.ratio
        line = SimulatedLine(folder, 10 * flow.top.divisor * ratio, flow.top.clock_hz * ratio)
    expected = what.model(what.pixels)
    start, exact = time.monotonic(), 0
    with LinkDevice(line) as device:
        with tqdm(unit="B", unit_scale=True, desc="loading", disable=None, leave=False) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            device.load(CompiledModel(tables, what.model), progress)
        for i, result in enumerate(device.run(iter(what.pixels))):
            wanted, what_came = result.like(expected[i]), "labels" if result.labels_only else "logits"
            equal = np.array_equal(result.answer, wanted)
            exact += equal
            says = "equal to the golden model" if equal else f"got {result.answer}, expected {wanted}"
            print(f"image {i}: {what_came} {says}; {result.cycles} cycles", flush=True)
        cycles = line.simulation.cycle
    summary = {
        "board": flow.target.name,
        "config": flow.top.config.name,
        "model": what.name,
        "kind": what.kind,
        "images": len(what.pixels),
        "exact": exact,
        "divisor": flow.top.divisor,
        "cycles": cycles,
        "cycles_per_second": round(cycles / (time.monotonic() - start)),
        "seconds": round(time.monotonic() - began),
    }
    write_text(flow.folder / "gatesim.json", json.dumps(summary, indent=1) + "\n")
    passed = exact == len(what.pixels)
    says = (
        f"{what.name} ({what.kind}) on the netlist of {flow.target.name}, {flow.top.config.name}: "
        f"{exact}/{len(what.pixels)} images exact, {cycles:,} cycles"
    )
    print(f"{'PASS' if passed else 'FAIL'} {says}")
    ledger.write("gatesim", f"make gatesim BOARD={flow.target.name}", passed, says)
    return passed
