"""Lines to simulated accelerators that damage what they carry, one fault after another, on purpose."""

import random
from collections.abc import Callable, Mapping

from haarlequin.sim import fifo_board, spi_board
from haarlequin.sim.spi_board import BYTE, SimulatedBus
from haarlequin.sim.usb.host import UsbHost
from haarlequin.sim.usb.transactor import Order
from haarlequin.sw.devices.byte_line import Line
from haarlequin.sw.devices.fifo_port import Fifo
from haarlequin.sw.devices.simulated import SimulatedLine
from haarlequin.sw.verilated.accelerator import CLOCK_HZ
from haarlequin.sw.verilated.simulation import Simulation

LONGEST_BURST = 16
"""The most bits of a burst that CRC-16 always notices."""


def flip(stream: bytes, at: int, dice: random.Random) -> bytes:
    """Flip a burst of bits."""
    width = dice.randint(1, LONGEST_BURST)
    burst = 1 | dice.getrandbits(width) << 1 if width > 1 else 1
    bits = int.from_bytes(stream, "little") ^ burst << 8 * at + dice.randrange(8)
    return (bits & (1 << 8 * len(stream)) - 1).to_bytes(len(stream), "little")


def drop(stream: bytes, at: int, dice: random.Random) -> bytes:
    """Lose some bytes."""
    return stream[:at] + stream[at + dice.choice((1, 1, 2, 7)) :]


def double(stream: bytes, at: int, dice: random.Random) -> bytes:
    """Send some bytes twice."""
    end = at + dice.choice((1, 1, 2, 7))
    return stream[:end] + stream[at:end] + stream[end:]


def insert(stream: bytes, at: int, dice: random.Random) -> bytes:
    """Insert garbage that may look like the beginning of a frame."""
    garbage = bytes(dice.choice((0xA5, dice.randrange(256))) for _ in range(dice.randint(1, 20)))
    return stream[:at] + garbage + stream[at:]


def cut(stream: bytes, at: int, dice: random.Random) -> bytes:
    """Lose the rest of what is being sent."""
    return stream[:at]


def slip(stream: bytes, at: int, dice: random.Random) -> bytes:
    """Lose one bit, so that all that follows comes a bit early, and the last byte never whole."""
    bits, after = int.from_bytes(stream, "big"), 8 * (len(stream) - at) - dice.randrange(8) - 1
    left = (bits >> after + 1) << after | bits & (1 << after) - 1
    return (left >> 7).to_bytes(len(stream) - 1, "big")


FAULTS = {"flip": flip, "drop": drop, "double": double, "insert": insert, "cut": cut}
BUS_FAULTS = FAULTS | {"slip": slip}
"""A bus may also lose an edge of its clock. A UART's bytes begin anew with each start bit."""

RESET = "reset"
"""A fault that resets the whole accelerator, like its button, whatever it is doing."""


class Noise:
    """One fault at a time, which is armed and then happens once.

    It hits the byte that is ``distance`` bytes further on in its direction; a reset waits as many cycles.
    """

    kinds: Mapping[str, Callable[..., bytes]] = FAULTS
    """The faults that may happen, beside a `RESET`."""
    seconds: Callable[[], float]
    """A function that returns the time in the simulation."""

    def __init__(self, seed: int):
        self._dice = random.Random(seed)
        self.happened = True
        self._kind, self._outward, self._distance = "", True, 0

    def arm(self, kind: str, outward: bool, distance: int) -> None:
        """Let this fault happen once."""
        self._kind, self._outward, self._distance, self.happened = kind, outward, distance, False

    def _damaged(self, stream: bytes, outward: bool) -> bytes:
        if self.happened or self._kind == RESET or outward != self._outward:
            return stream
        if self._distance >= len(stream):
            self._distance -= len(stream)
            return stream
        self.happened = True
        return self.kinds[self._kind](stream, self._distance, self._dice)


class NoisyLine(Noise, Line):
    """A line to a simulated accelerator that damages what the line carries."""

    name, exact = "noisy sim", False

    def __init__(self, line: SimulatedLine, seed: int):
        super().__init__(seed)
        self._line = line
        self.latency = line.latency

    def send(self, data: bytes) -> None:
        """Bytes to the accelerator."""
        self._line.send(self._damaged(data, outward=True))

    def receive(self, seconds: float) -> bytes:
        """The next bytes from it, or none."""
        if self._kind == RESET and not self.happened:
            before = self._line.simulation.cycle
            came = self._line.receive(min(seconds, self._distance / CLOCK_HZ))
            self._distance -= self._line.simulation.cycle - before
            if self._distance <= 0:
                self._line.simulation.restart()
                self.happened = True
            if came or not self.happened:
                return came
        while came := self._line.receive(seconds):
            if left := self._damaged(came, outward=False):
                return left
        return came

    def seconds(self) -> float:
        """The time in the simulation."""
        return self._line.simulation.cycle / CLOCK_HZ

    def close(self) -> None:
        """End the simulation."""
        self._line.close()


class NoisyBus(Noise):
    """A simulated SPI bus on whose wires the damage is done: to frames, and to the silence between them.

    Bytes that are lost, or come twice, are eight edges of SCK that are missed, or of noise.
    """

    kinds = BUS_FAULTS

    def __init__(self, bus: SimulatedBus, seed: int):
        super().__init__(seed)
        self._bus, self.simulation = bus, bus.simulation

    def exchange(self, data: bytes) -> bytes:
        """Send bytes, and return those that come."""
        data = self._damaged(data, outward=True)
        before = b""
        if self._kind == RESET and not self.happened:
            cycles, size = len(data) * BYTE, self._distance // BYTE
            self._distance -= cycles
            if self._distance < 0:
                before, data = self._bus.exchange(data[:size]), data[size:]
                self.simulation.restart()
                self.happened = True
        came = before + (self._bus.exchange(data) if data else b"")
        return self._damaged(came, outward=False)

    def seconds(self) -> float:
        """The time in the simulation."""
        return self.simulation.cycle / spi_board.HERTZ

    def close(self) -> None:
        """End the simulation."""
        self._bus.close()


class NoisyFifo(Noise):
    """The FIFO of a simulated FT232H with loose wires, on which bytes are damaged, lost and doubled.

    Arguments:
        simulation: the one of its board.
        fifo: the FIFO.
        seed: of the damage.
    """

    def __init__(self, simulation: Simulation, fifo: Fifo, seed: int):
        super().__init__(seed)
        self.simulation, self._fifo = simulation, fifo
        self._looked_at = 0

    def arm(self, kind: str, outward: bool, distance: int) -> None:
        """Let this fault happen once."""
        super().arm(kind, outward, distance)
        self._looked_at = self.simulation.cycle

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._reset()
        self._fifo.write(self._damaged(data, outward=True))

    def read(self) -> bytes:
        """The bytes of the next transfer, if there are any."""
        self._reset()
        came = self._fifo.read()
        return self._damaged(came, outward=False) if came else came

    def seconds(self) -> float:
        """The time in the simulation."""
        return self.simulation.cycle / fifo_board.HERTZ

    def close(self) -> None:
        """End the simulation."""
        self._fifo.close()

    def _reset(self) -> None:
        """Reset the accelerator, if that is the fault and it is time."""
        due = self.simulation.cycle - self._looked_at >= self._distance * fifo_board.CYCLES
        if self._kind == RESET and not self.happened and due:
            self.simulation.restart()
            self.happened = True


class NoisyHost(Noise, UsbHost):
    """A USB host on whose wires the damage is done, to tokens, data and acknowledgements.

    A packet of which nothing is left is one that was lost. Neither end acknowledges a damaged one, and the
    host does not acknowledge what it might take for one.
    """

    def __init__(self, simulation: Simulation, hertz: int, seed: int):
        UsbHost.__init__(self, simulation, hertz)
        Noise.__init__(self, seed)
        self._looked_at = 0

    def arm(self, kind: str, outward: bool, distance: int) -> None:
        """Let this fault happen once."""
        super().arm(kind, outward, distance)
        self._looked_at = self.cycle

    def _exchange(self, order: list[tuple[Order, bytes]]) -> bytes:
        if self._kind == RESET and not self.happened:
            self._distance -= self.cycle - self._looked_at
            self._looked_at = self.cycle
            if self._distance <= 0:
                self.restart()
                self.happened = True
        armed = not self.happened and self._kind != RESET
        hears = ~Order.ACKNOWLEDGE if armed and not self._outward else ~Order(0)
        sent = [(what & hears, self._damaged(packet, outward=True)) for what, packet in order]
        if not order[-1][1]:  # a reset of the bus
            return super()._exchange(order)
        if not sent[-1][1]:
            if left := [(what & ~Order.LISTEN, packet) for what, packet in sent if packet]:
                super()._exchange(left)
            return b""
        return self._damaged(super()._exchange([each for each in sent if each[1]]), outward=False)
