"""The RTL in Verilator as a device, in this process."""

from pathlib import Path

from haarlequin.hw.config import AcceleratorConfig
from haarlequin.sw.devices.byte_line import Line
from haarlequin.sw.devices.device import Notice
from haarlequin.sw.devices.link import LinkDevice
from haarlequin.sw.verilated.accelerator import CLOCK_HZ, simulator
from haarlequin.sw.verilated.simulation import CHUNK, Simulation


class SimulatedLine(Line):
    """The link of a simulated accelerator: nothing is lost, and time passes only while one waits.

    Arguments:
        folder: its simulator.
        byte_cycles: what a byte takes to get in, 1 where nothing is between the bench and the accelerator.
        clock_hz: what the accelerator tells of.
    """

    name, exact = "sim", True

    def __init__(self, folder: Path, byte_cycles: int = 1, clock_hz: int = CLOCK_HZ):
        self.simulation = Simulation(folder)
        self._clock_hz = clock_hz
        # The bench has given away a chunk when it begins to count; as long an answer comes back whole.
        self.latency = (4096 + 2 * CHUNK * byte_cycles) / clock_hz

    def send(self, data: bytes) -> None:
        """Bytes to the accelerator."""
        self.simulation.send(data)

    def receive(self, seconds: float) -> bytes:
        """The next bytes from it."""
        return self.simulation.receive(CHUNK + round(seconds * self._clock_hz))

    def close(self) -> None:
        """End the simulation."""
        self.simulation.close()


def simulated(machine: AcceleratorConfig, folder: Path, notice: Notice) -> LinkDevice:
    """An accelerator in simulation, built within ``folder`` if it is not there yet.

    Raises `UsageError` where the machine lacks what a build takes.
    """
    return LinkDevice(SimulatedLine(simulator(machine, folder, notice=notice)))
