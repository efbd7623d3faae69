"""`haarlequin cable`: images through the pins of a simulated SPI slave, as fast as the host sends them."""

import argparse

import numpy as np
from tqdm import tqdm

from haarlequin.models.common.cli import command, one_line_errors
from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.places import build_folder
from haarlequin.sim.spi_board import CYCLES, SimulatedBus, SimulatedSpiLine, spi_simulator
from haarlequin.sw.devices import DeviceError
from haarlequin.sw.devices.link import IN_FLIGHT, LinkDevice
from haarlequin.sw.rates import spi_images_per_second
from haarlequin.sw.resolve import ModelSource
from haarlequin.sw.verilated.accelerator import CLOCK_HZ


@command
def main(argv: list[str] | None = None) -> None:
    """The command line. Exit code 1 if the accelerator has other answers than the golden model."""
    parser = argparse.ArgumentParser(
        prog="haarlequin cable",
        description="Images a second through a simulated SPI bus of 50 MHz, beside what its wires carry.",
    )
    parser.add_argument("--model", default="cifar10-nano", help="(default: cifar10-nano)")
    parser.add_argument("--config", default="16x64", help="accelerator (default: 16x64)")
    parser.add_argument("--images", type=int, default=20, metavar="N", help="(default: 20)")
    arguments = parser.parse_args(argv)
    with one_line_errors(verbose=False, failures=(DeviceError,)):
        if arguments.images < 1:
            raise UsageError(f"--images must be at least 1, not {arguments.images}")
        source = ModelSource(arguments.model)
        machine = source.machine(arguments.config)
        model, config = source.compiled(machine.digest), source.config
        shape = arguments.images + IN_FLIGHT, *config.image, config.channels
        images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        bus = SimulatedBus(spi_simulator(machine, build_folder("sim")))
        with LinkDevice(SimulatedSpiLine(bus)) as device:
            device.load(model)
            results, came = [], []
            for result in tqdm(device.run(images), total=len(images), unit=" images", disable=None):
                results.append(result.answer)
                came.append(bus.simulation.cycle)
        assert model.golden is not None
        wrong = sum(not np.array_equal(*pair) for pair in zip(results, model.golden(images), strict=True))
        if wrong:
            raise DeviceError(f"{wrong} of {len(images)} images have other logits than the golden model's")
    # The first ones fill the pipeline.
    took = (came[-1] - came[IN_FLIGHT - 1]) / CYCLES / arguments.images
    rate, wires, array = (
        CLOCK_HZ / took,
        spi_images_per_second(config, CLOCK_HZ),
        CLOCK_HZ / model.placed.cycles,
    )
    print(
        f"{config.name} on {machine.name}, both clocks {CLOCK_HZ / 1e6:g} MHz: "
        f"{len(images)} images, all exact\n"
        f"{took:,.0f} cycles an image, {rate:,.0f} images/s: {rate / min(wires, array):.1%} of the least of\n"
        f"  {wires:>7,.0f} images/s that the wires carry\n"
        f"  {array:>7,.0f} images/s that the layers compute"
    )
