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
from dataclasses import dataclass, field, replace

import numpy as np
from tqdm import tqdm

from haarlequin.hw.config import AcceleratorConfig, AnyConfig
from haarlequin.hw.presets import CONFIGS
from haarlequin.models import data
from haarlequin.models.common import ledger
from haarlequin.models.common.cli import command, one_line_errors
from haarlequin.models.common.places import build_folder
from haarlequin.models.config import vit
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.sim.damage import RESET, Noise, NoisyBus, NoisyFifo, NoisyHost, NoisyLine
from haarlequin.sim.ethernet.board import ethernet_simulator
from haarlequin.sim.ethernet.damage import NoisyCable
from haarlequin.sim.ethernet.host import SimulatedUdpLine
from haarlequin.sim.fifo_board import SimulatedFifoLine, fifo_simulator, simulated_fifo
from haarlequin.sim.spi_board import SimulatedBus, SimulatedSpiLine, spi_simulator
from haarlequin.sim.usb.board import HERTZ, SimulatedUsbLine, usb_simulator
from haarlequin.sim.usb.ulpi_board import HERTZ as ULPI_HERTZ
from haarlequin.sim.usb.ulpi_board import ulpi_simulator
from haarlequin.sw.compiler import compile_model
from haarlequin.sw.devices import CompiledModel, DeviceError
from haarlequin.sw.devices.byte_line import Line
from haarlequin.sw.devices.link import LinkDevice
from haarlequin.sw.devices.simulated import SimulatedLine
from haarlequin.sw.resolve import ModelSource
from haarlequin.sw.verilated.accelerator import simulator
from haarlequin.sw.verilated.simulation import Simulation

IMAGES = 3
"""Images that are sent for each fault, so that it meets one that is computed, waits, or arrives."""


SMALL_IMAGES = 40
"""Images of `small_model`."""

LINES = ("bytes", "spi", "fifo", "udp", "usb", "usb-hs")
"""The lines whose noise is simulated: a byte stream as of a UART, and five with wires of their own."""


@dataclass
class Outcome:
    """The counts of a campaign."""

    faults: Counter[str] = field(default_factory=Counter)
    """Faults that happened, by kind and place."""
    answered: int = 0
    reported: int = 0
    """Images that the host was told have no answer."""
    wrong: int = 0
    delays: list[float] = field(default_factory=list)
    """Seconds in the simulation by which the images of each fault took longer than without it."""

    def recovery(self) -> str:
        """A sentence on how long the line takes after a fault."""
        half, most = np.quantile(self.delays, [0.5, 1.0]) * 1e3
        return f"half of the faults cost {half:.3g} ms or less, the worst {most:.3g} ms"


def campaign(
    device: LinkDevice, noise: Noise, model: CompiledModel, images: np.ndarray, faults: int, seed: int
) -> Iterator[Outcome]:
    """Make ``faults`` faults, one after another; yields the counts so far after each.

    Raises ValueError where the model is tables alone, without the golden model to compare with.
    """
    if model.golden is None:
        raise ValueError("a campaign needs the golden model, not tables alone")
    dice, outcome = random.Random(seed), Outcome()
    kinds = (*noise.kinds, RESET)
    expected = model.golden(images)
    usual = {load: _usual(device, noise, model, images, load) for load in (False, True)}
    loading = sum(len(words) for words in model.placed.words.values()) * 8
    while outcome.faults.total() < faults:
        kind = dice.choice(kinds)
        load, outward = dice.random() < 0.1, dice.random() < 0.5
        reach = (loading if outward else 400) if load else IMAGES * (images[0].size + 14 if outward else 70)
        noise.arm(kind, outward, dice.randrange(3 * model.placed.cycles if kind == RESET else reach))
        chosen = [dice.randrange(len(images)) for _ in range(IMAGES)]
        answered, began = 0, noise.seconds()
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
            outcome.delays.append(max(0.0, noise.seconds() - began - usual[load]))
            yield outcome


def _usual(device: LinkDevice, noise: Noise, model: CompiledModel, images: np.ndarray, load: bool) -> float:
    """Seconds in the simulation that the images of a fault take without one, after loading or not."""
    began = noise.seconds()
    if load:
        device.load(model)
    list(device.run(images[:IMAGES]))
    return noise.seconds() - began


def small_machine() -> AcceleratorConfig:
    """A machine on which a campaign has many more faults in the same time."""
    machine = CONFIGS["2x64"]
    assert isinstance(machine, AcceleratorConfig)
    return replace(machine, name="4x16-noise", lanes=4, width=16, signs=512)


def small_model(machine: AcceleratorConfig) -> tuple[CompiledModel, np.ndarray]:
    """A model for a machine, small, though not so small that images are alike to it; and its images."""
    config = vit(
        name="random",
        image=(4, 4),
        channels=1,
        mean=(128.0,),
        patch=2,
        dim=16,
        heads=2,
        layers=1,
        classes=("a", "b", "c", "d"),
    )
    golden = freeze(random_model(config, seed=2))
    images = np.random.default_rng(0).integers(0, 256, (SMALL_IMAGES, 4, 4, 1), np.uint8)
    return CompiledModel(compile_model(golden, machine, check=False).compiled(), golden), images


def noisy(kind: str, machine: AnyConfig, seed: int) -> tuple[Line, Noise]:
    """A line to a simulated machine, one of `LINES`, and the noise on it."""
    if kind == "usb":
        host = NoisyHost(Simulation(usb_simulator(machine, build_folder("sim"))), HERTZ, seed)
        return SimulatedUsbLine(host), host
    if kind == "usb-hs":
        host = NoisyHost(Simulation(ulpi_simulator(machine, build_folder("sim"))), ULPI_HERTZ, seed)
        return SimulatedUsbLine(host), host
    if kind == "spi":
        bus = NoisyBus(SimulatedBus(spi_simulator(machine, build_folder("sim"))), seed)
        return SimulatedSpiLine(bus), bus
    if kind == "fifo":
        simulation, chip = simulated_fifo(fifo_simulator(machine, build_folder("sim")))
        fifo = NoisyFifo(simulation, chip, seed)
        return SimulatedFifoLine(simulation, fifo), fifo
    if kind == "udp":
        cable = NoisyCable(Simulation(ethernet_simulator(machine, build_folder("sim"))), seed)
        return SimulatedUdpLine(cable), cable
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
        "--line", choices=LINES, default="bytes", help="what carries the frames (default: bytes)"
    )
    parser.add_argument(
        "--small", action="store_true", help="a small machine and model: many more faults in the same time"
    )
    arguments = parser.parse_args(argv)
    with one_line_errors(verbose=False, failures=(DeviceError,)):
        source = ModelSource("digits")
        small = small_machine() if arguments.small else None
        machine = small or source.machine(None)
        line, noise = noisy(arguments.line, machine, arguments.seed)
        with LinkDevice(line) as device:
            if small:
                model, images = small_model(small)
            else:
                model, images = source.compiled(device.digest), data.load("digits").test.pixels
            device.load(model)
            runs = campaign(device, noise, model, images, arguments.faults, arguments.seed)
            outcome = Outcome()
            with suppress(KeyboardInterrupt):  # what has been seen until then is reported
                for so_far in tqdm(runs, total=arguments.faults, unit=" faults", disable=None):
                    outcome = so_far
    for name, count in sorted(outcome.faults.items()):
        print(f"{name:<28}{count:>6}")
    total = outcome.faults.total()
    says = (
        f"{total} faults: {outcome.answered} images answered, {outcome.reported} reported as unanswered, "
        f"{outcome.wrong} with wrong logits"
    )
    if total:
        says += f"; {outcome.recovery()}"
    print(f"\n{says}")
    passed = not outcome.wrong and total >= arguments.faults
    ledger.write("noise", f'make noise ARGS="--line {arguments.line}"', passed, says)
    if not passed:
        sys.exit(1)
