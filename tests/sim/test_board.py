"""Whole boards, from Amaranth to a bitstream, and their netlists against the golden model: the smallest array
on an ECP5, the scalar machine on its own board.
"""

from itertools import islice

import numpy as np
import pytest

from haarlequin.hw.bitstream import report
from haarlequin.hw.bitstream.flow import Flow
from haarlequin.hw.boards import board
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.sim.gatesim import simulator
from haarlequin.sim.simulate import expect
from haarlequin.sim.spi_board import SimulatedBus, SimulatedSpiLine
from haarlequin.sim.usb.board import SimulatedUsbLine
from haarlequin.sim.usb.host import UsbHost
from haarlequin.sw.devices.link import LinkDevice
from haarlequin.sw.targets import compile_model
from haarlequin.sw.verilated.simulation import Simulation
from tests.differential.compare import faults_of_answers
from tests.small_machines import SMALLEST, SMALLEST_MODEL
from tests.sw.scalar.models import random_models

pytestmark = pytest.mark.slow

DIVISOR = 4

ACCELERATORS = {"ulx3s-25f": SMALLEST, "icebreaker": CONFIGS["scalar"]}
"""By board."""


@pytest.fixture(scope="module", params=ACCELERATORS)
def flow(request, tmp_path_factory):
    """Synthesised, with as fast a UART as there can be."""
    target = board(request.param)
    if target.usb_plug:
        target = target.with_usb()
    folder, baud = tmp_path_factory.mktemp("board"), target.clock_hz // DIVISOR
    made = Flow(target, ACCELERATORS[target.name], target.clock_hz, baud, folder)
    made.synthesise()
    assert made.top.divisor == DIVISOR
    return made


def models(flow, count):
    """Some that fit."""
    if flow.top.config is SMALLEST:
        return [freeze(random_model(SMALLEST_MODEL, seed)) for seed in range(count)]
    return list(islice(random_models(3), count))


def line_to(flow, by, folder):
    """A line to the pins of its netlist."""
    if by == "spi":
        return SimulatedSpiLine(SimulatedBus(folder))
    return SimulatedUsbLine(UsbHost(Simulation(folder), flow.top.clock_hz * flow.top.setting.ratio))


def test_its_netlist_gives_the_golden_logits(flow, tmp_path):
    """PLL, pins and lines included; nothing is in its memories but what the host puts there.

    The array is reached by USB, the scalar machine by SPI, and with `make gatesim` both by their UARTs. The
    bus of USB is slow to simulate: one image goes over it.
    """
    by, count, images = ("usb", 1, 1) if flow.target.usb else ("spi", 2, 4)
    folder = simulator(flow, tmp_path / by, by)
    with LinkDevice(line_to(flow, by, folder)) as device:
        assert_exact(flow, device, count, images)


def assert_exact(flow, device, count, images):
    """On so many models, with so many images of each."""
    assert device.identity.clock_hz == flow.top.clock_hz
    for seed, model in enumerate(models(flow, count)):
        program = compile_model(model, flow.top.config)
        shape = images, *model.config.image, model.config.channels
        pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        assert faults_of_answers(device, program, pixels, expect(model, pixels)) == []


def test_it_becomes_a_bitstream_that_meets_its_clock(flow):
    flow.route(1, "heap")  # the faster one for a small array
    flow.pack()
    routed = report.routed(flow.folder, flow.family)
    assert routed.fmax_mhz >= flow.top.clock_hz / 1e6
    assert routed.usage["lut4"][0] > 1000
    assert flow.bitstream.stat().st_size > 50_000
