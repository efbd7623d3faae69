"""`haarlequin cable`: images through the pins of a simulated board's line, as fast as the host sends them."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from haarlequin.hw.config import AnyConfig
from haarlequin.hw.link.usb import IO_HZ
from haarlequin.models.common.cli import command, one_line_errors
from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.places import build_folder
from haarlequin.models.config import ModelConfig
from haarlequin.sim import fifo_board, spi_board
from haarlequin.sim.ethernet import board as ethernet_board
from haarlequin.sim.ethernet.board import ethernet_simulator
from haarlequin.sim.ethernet.host import Cable as NetworkCable
from haarlequin.sim.ethernet.host import SimulatedUdpLine
from haarlequin.sim.fifo_board import SimulatedFifoLine, fifo_simulator, simulated_fifo
from haarlequin.sim.spi_board import SimulatedBus, SimulatedSpiLine, spi_simulator
from haarlequin.sim.usb import board as usb_board
from haarlequin.sim.usb import ulpi_board
from haarlequin.sim.usb.board import SimulatedUsbLine, usb_simulator
from haarlequin.sim.usb.host import UsbHost
from haarlequin.sim.usb.ulpi_board import ulpi_simulator
from haarlequin.sw.devices import DeviceError
from haarlequin.sw.devices.byte_line import Line
from haarlequin.sw.devices.link import IN_FLIGHT, LinkDevice
from haarlequin.sw.rates import (
    fifo_images_per_second,
    spi_images_per_second,
    udp_images_per_second,
    usb_images_per_second,
)
from haarlequin.sw.resolve import ModelSource
from haarlequin.sw.verilated.accelerator import CLOCK_HZ
from haarlequin.sw.verilated.simulation import Simulation


@dataclass(frozen=True)
class Cable:
    """A line to a simulated board."""

    title: str
    hertz: int
    """The accelerator's clock."""
    bench_cycles: int
    """Cycles of the bench for one of the accelerator."""
    wires: Callable[[ModelConfig], float]
    """The most images in a second that it carries."""
    plug: Callable[[AnyConfig], tuple[Line, Simulation]]
    """Makes one."""


def _spi(machine: AnyConfig) -> tuple[Line, Simulation]:
    bus = SimulatedBus(spi_simulator(machine, build_folder("sim")))
    return SimulatedSpiLine(bus), bus.simulation


def _usb(machine: AnyConfig) -> tuple[Line, Simulation]:
    simulation = Simulation(usb_simulator(machine, build_folder("sim")))
    return SimulatedUsbLine(UsbHost(simulation, usb_board.HERTZ)), simulation


def _usb_hs(machine: AnyConfig) -> tuple[Line, Simulation]:
    simulation = Simulation(ulpi_simulator(machine, build_folder("sim")))
    return SimulatedUsbLine(UsbHost(simulation, ulpi_board.HERTZ)), simulation


def _fifo(machine: AnyConfig) -> tuple[Line, Simulation]:
    simulation, fifo = simulated_fifo(fifo_simulator(machine, build_folder("sim")))
    return SimulatedFifoLine(simulation, fifo), simulation


def _udp(machine: AnyConfig) -> tuple[Line, Simulation]:
    cable = NetworkCable(Simulation(ethernet_simulator(machine, build_folder("sim"))))
    return SimulatedUdpLine(cable), cable.simulation


CABLES = {
    "spi": Cable(
        "an SPI bus of 50 MHz",
        CLOCK_HZ,
        spi_board.CYCLES,
        lambda model: spi_images_per_second(model, CLOCK_HZ),
        _spi,
    ),
    "fifo": Cable("an FT232H's FIFO of 60 MHz", CLOCK_HZ, fifo_board.CYCLES, fifo_images_per_second, _fifo),
    "udp": Cable("Ethernet at a gigabit", CLOCK_HZ, ethernet_board.CYCLES, udp_images_per_second, _udp),
    "usb": Cable("USB at full speed", IO_HZ, usb_board.CYCLES, usb_images_per_second, _usb),
    "usb-hs": Cable(
        "USB at high speed",
        CLOCK_HZ,
        ulpi_board.CYCLES,
        lambda model: usb_images_per_second(model, high_speed=True),
        _usb_hs,
    ),
}


@command
def main(argv: list[str] | None = None) -> None:
    """The command line. Exit code 1 if the accelerator has other answers than the golden model."""
    parser = argparse.ArgumentParser(
        prog="haarlequin cable",
        description="Images a second through the pins of a simulated board, beside what its wires carry.",
    )
    parser.add_argument("--line", choices=CABLES, default="spi", help="(default: spi)")
    parser.add_argument("--model", default="cifar10-nano", help="(default: cifar10-nano)")
    parser.add_argument("--config", default="16x64", help="accelerator (default: 16x64)")
    parser.add_argument("--images", type=int, default=20, metavar="N", help="(default: 20)")
    arguments = parser.parse_args(argv)
    with one_line_errors(verbose=False, failures=(DeviceError,)):
        if arguments.images < 1:
            raise UsageError(f"--images must be at least 1, not {arguments.images}")
        source, cable = ModelSource(arguments.model), CABLES[arguments.line]
        machine = source.machine(arguments.config)
        model, config = source.compiled(machine.digest), source.config
        line, simulation = cable.plug(machine)
        flying = IN_FLIGHT[line.flow_control]
        shape = arguments.images + flying + 1, *config.image, config.channels
        images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        with LinkDevice(line) as device:
            device.load(model)
            results, came = [], []
            for result in tqdm(device.run(images), total=len(images), unit=" images", disable=None):
                results.append(result.answer)
                came.append(simulation.cycle)
        assert model.golden is not None
        wrong = sum(not np.array_equal(*pair) for pair in zip(results, model.golden(images), strict=True))
        if wrong:
            raise DeviceError(f"{wrong} of {len(images)} images have other logits than the golden model's")
    # Before the first one comes, several are sent, and after the last one that is sent several come.
    took = (came[-flying] - came[1]) / cable.bench_cycles / arguments.images
    rate, wires, array = cable.hertz / took, cable.wires(config), cable.hertz / model.placed.cycles
    print(
        f"{config.name} on {machine.name} at {cable.hertz / 1e6:g} MHz, through {cable.title}: "
        f"{len(images)} images, all exact\n"
        f"{took:,.0f} cycles an image, {rate:,.0f} images/s: {rate / min(wires, array):.1%} of the least of\n"
        f"  {wires:>7,.0f} images/s that the wires carry\n"
        f"  {array:>7,.0f} images/s that the layers compute"
    )
