"""The RTL in Verilator as a device, within this process."""

from pathlib import Path

from haarlequin.hw.config import AnyConfig
from haarlequin.sw.devices.byte_line import Line
from haarlequin.sw.devices.device import Notice
from haarlequin.sw.devices.link import LinkDevice
from haarlequin.sw.verilated.accelerator import CLOCK_HZ, simulator
from haarlequin.sw.verilated.simulation import CHUNK, Simulation


class SimulatedLine(Line):
    """The line to a simulated accelerator: nothing is lost, and time passes only while the host waits.

    Arguments:
        folder: the folder of its simulator.
        byte_cycles: cycles per byte on the way in; 1 where the bench is connected directly to the link.
        clock_hz: the clock rate that the accelerator reports.
    """

    name, exact = "sim", True

    def __init__(self, folder: Path, byte_cycles: int = 1, clock_hz: int = CLOCK_HZ):
        self.simulation = Simulation(folder)
        self._clock_hz = clock_hz
        # The bench begins to count once it has handed over its last chunk. An answer of one chunk then takes
        # as long again to come back whole.
        self.latency = (4096 + 2 * CHUNK * byte_cycles) / clock_hz

    def send(self, data: bytes) -> None:
        """Send bytes to the accelerator."""
        self.simulation.send(data)

    def receive(self, seconds: float) -> bytes:
        """The next bytes from the accelerator."""
        return self.simulation.receive(CHUNK + round(seconds * self._clock_hz))

    def close(self) -> None:
        """End the simulation."""
        self.simulation.close()


def simulated(machine: AnyConfig, folder: Path, notice: Notice) -> LinkDevice:
    """An accelerator in simulation; its simulator is built within ``folder`` if it is not there yet.

    Raises `UsageError` where this computer lacks what a build needs.
    """
    return LinkDevice(SimulatedLine(simulator(machine, folder, notice=notice)))
