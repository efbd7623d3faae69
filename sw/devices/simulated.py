"""The RTL in Verilator as a device, in this process."""

from pathlib import Path

from hw.config import AcceleratorConfig
from sim.library import CHUNK, Simulation
from sim.simulate import CLOCK_HZ, simulator

from .device import DeviceError, Notice
from .line import Line
from .link import LinkDevice


class SimulatedLine(Line):
    """The link of a simulated accelerator: nothing is lost, and time passes only while one waits."""

    name, exact = "sim", True
    latency = 4096 / CLOCK_HZ

    def __init__(self, folder: Path):
        self.simulation = Simulation(folder)

    def send(self, data: bytes) -> None:
        """Bytes to the accelerator."""
        self.simulation.send(data)

    def receive(self, seconds: float) -> bytes:
        """The next bytes from it."""
        try:
            return self.simulation.receive(CHUNK + round(seconds * CLOCK_HZ))
        except ValueError as error:  # it is closed
            raise DeviceError(f"{self.name}: {error}") from None

    def close(self) -> None:
        """End the simulation."""
        self.simulation.close()


def simulated(machine: AcceleratorConfig, folder: Path, notice: Notice) -> LinkDevice:
    """An accelerator in simulation, built within ``folder`` if it is not there yet.

    Raises `UsageError` where the machine lacks what a build takes.
    """
    return LinkDevice(SimulatedLine(simulator(machine, folder, notice=notice)))
