"""`make noise`: images through the simulated accelerator on a line that damages what it carries.

The line makes one fault after another, in both directions, while tables are loaded and while images are
computed. Every image must get the golden model's logits or be reported as unanswered. The exit code is 1
where an image gets other logits.
"""

import argparse
import random
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from haarlequin.hw.config import AnyConfig
from haarlequin.models import data
from haarlequin.models.common.cli import command, one_line_errors
from haarlequin.models.common.places import build_folder
from haarlequin.sim.spi_board import BYTE, SimulatedBus, SimulatedSpiLine, spi_simulator
from haarlequin.sw.devices import CompiledModel, DeviceError
from haarlequin.sw.devices.byte_line import Line
from haarlequin.sw.devices.link import LinkDevice
from haarlequin.sw.devices.simulated import SimulatedLine
from haarlequin.sw.resolve import ModelSource
from haarlequin.sw.verilated.accelerator import CLOCK_HZ, simulator

LONGEST_BURST = 16
"""The most bits of a burst that CRC-16 always notices."""

IMAGES = 3
"""Images that are sent for each fault, so that it meets one that is computed, waits, or arrives."""


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
        return BUS_FAULTS[self._kind](stream, self._distance, self._dice)


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

    def close(self) -> None:
        """End the simulation."""
        self._line.close()


class NoisyBus(Noise):
    """A simulated SPI bus on whose wires the damage is done: to frames, and to the silence between them.

    Bytes that are lost, or come twice, are eight edges of SCK that are missed, or of noise.
    """

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

    def close(self) -> None:
        """End the simulation."""
        self._bus.close()


@dataclass
class Outcome:
    """The counts of a campaign."""

    faults: Counter[str] = field(default_factory=Counter)
    """Faults that happened, by kind and place."""
    answered: int = 0
    reported: int = 0
    """Images that the host was told have no answer."""
    wrong: int = 0


def campaign(
    device: LinkDevice, noise: Noise, model: CompiledModel, images: np.ndarray, faults: int, seed: int
) -> Iterator[Outcome]:
    """Make ``faults`` faults, one after another; yields the counts so far after each.

    Raises ValueError where the model is tables alone, without the golden model to compare with.
    """
    if model.golden is None:
        raise ValueError("a campaign needs the golden model, not tables alone")
    dice, outcome = random.Random(seed), Outcome()
    kinds = (*(BUS_FAULTS if isinstance(noise, NoisyBus) else FAULTS), RESET)
    expected = model.golden(images)
    loading = sum(len(words) for words in model.placed.words.values()) * 8
    while outcome.faults.total() < faults:
        kind = dice.choice(kinds)
        load, outward = dice.random() < 0.1, dice.random() < 0.5
        reach = (loading if outward else 400) if load else IMAGES * (images[0].size + 14 if outward else 70)
        noise.arm(kind, outward, dice.randrange(3 * model.placed.cycles if kind == RESET else reach))
        chosen = [dice.randrange(len(images)) for _ in range(IMAGES)]
        answered = 0
        try:
            if load:
                device.load(model)
            for number, result in zip(chosen, device.run(images[chosen]), strict=True):
                answered += 1
                outcome.wrong += not np.array_equal(result.answer, result.like(expected[number]))
        except DeviceError:
            outcome.reported += IMAGES - answered
        outcome.answered += answered
        if noise.happened:
            place = "loading" if load else "images"
            direction = "" if kind == RESET else ", to it" if outward else ", from it"
            outcome.faults[f"{kind} ({place}{direction})"] += 1
            yield outcome


def noisy(kind: str, machine: AnyConfig, seed: int) -> tuple[Line, Noise]:
    """A line to a simulated machine, ``bytes`` or ``spi``, and the noise on it."""
    if kind == "spi":
        bus = NoisyBus(SimulatedBus(spi_simulator(machine, build_folder("sim"))), seed)
        return SimulatedSpiLine(bus), bus
    line = NoisyLine(SimulatedLine(simulator(machine, build_folder("sim"))), seed)
    return line, line


@command
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="haarlequin noise", description="A thousand faults on the link of the real RTL: no wrong logits."
    )
    parser.add_argument("--faults", type=int, default=1000, metavar="N", help="(default: 1000)")
    parser.add_argument("--seed", type=int, default=1, help="(default: 1)")
    parser.add_argument(
        "--line", choices=("bytes", "spi"), default="bytes", help="what carries the frames (default: bytes)"
    )
    arguments = parser.parse_args(argv)
    with one_line_errors(verbose=False, failures=(DeviceError,)):
        source = ModelSource("digits")
        line, noise = noisy(arguments.line, source.machine(None), arguments.seed)
        with LinkDevice(line) as device:
            model = source.compiled(device.digest)
            device.load(model)
            images = data.load("digits").test.pixels
            runs = campaign(device, noise, model, images, arguments.faults, arguments.seed)
            outcome = Outcome()
            with suppress(KeyboardInterrupt):  # what has been seen until then is reported
                for so_far in tqdm(runs, total=arguments.faults, unit=" faults", disable=None):
                    outcome = so_far
    for name, count in sorted(outcome.faults.items()):
        print(f"{name:<28}{count:>6}")
    total = outcome.faults.total()
    print(
        f"\n{total} faults: {outcome.answered} images answered, {outcome.reported} reported as unanswered, "
        f"{outcome.wrong} with wrong logits"
    )
    if outcome.wrong or total < arguments.faults:
        sys.exit(1)
