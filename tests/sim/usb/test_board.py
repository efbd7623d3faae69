"""A whole accelerator on USB, by the host's own code from `open_device` on."""

import errno

import numpy as np
import pytest

from haarlequin.models.common.places import build_folder
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.sim.usb.backend import SimulatedBackend
from haarlequin.sim.usb.board import HERTZ, SERIAL, usb_simulator
from haarlequin.sim.usb.host import UsbHost
from haarlequin.sw.devices import CompiledModel, open_device, usb_port
from haarlequin.sw.targets import compile_model
from haarlequin.sw.verilated.simulation import Simulation
from tests.small_machines import MACHINES, SMALLEST_MODEL

pytestmark = pytest.mark.slow

MACHINE = MACHINES["4x16"]
"""One whose simulator others build, too."""


class LooseHost(UsbHost):
    """A host from whose port the device is missing for the next ``missing`` times that it is asked."""

    missing = 0

    def _exchange(self, order):
        if self.missing:
            self.missing -= 1
            raise OSError(errno.ENODEV, "No such device")
        return super()._exchange(order)


@pytest.fixture
def host(monkeypatch):
    """The only one of this computer."""
    simulation = Simulation(usb_simulator(MACHINE, build_folder("sim")))
    found = LooseHost(simulation, HERTZ)
    backend = SimulatedBackend(found)
    monkeypatch.setattr(usb_port, "_libusb", lambda: backend)
    monkeypatch.setattr(usb_port, "LATENCY", 0.001)
    with simulation:
        yield found


def test_a_board_that_is_unplugged_in_mid_run_and_plugged_in_again(host):
    model = freeze(random_model(SMALLEST_MODEL, 0))
    shape = 8, *model.config.image, model.config.channels
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with open_device("usb:", None) as device:
        assert device.name == f"usb:{SERIAL}"
        device.load(CompiledModel(compile_model(model, MACHINE).compiled(), model))
        came = []
        for i, result in enumerate(device.run(images)):
            came.append(result.answer)
            if i in (2, 5):
                host.restart()  # its power was gone: the tables are no longer sealed
                host.missing = i
    assert np.array_equal(came, model(images))
