"""Synthesise machines of many sizes, and keep what they take: the figures that `cost` is fitted to.

``haarlequin explore --measure`` runs this. A run is yosys and the packing of nextpnr, without placement, for
a ULX3S-85F with its link, boot and UART: the cells that a bitstream of the same size has.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from haarlequin.hw.bitstream import tools
from haarlequin.hw.bitstream.flow import NEXTPNR_MILESTONES, Flow
from haarlequin.hw.boards import board
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.presets import accelerator
from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.files import write_text
from haarlequin.models.golden import GoldenModel
from haarlequin.models.presets import preset
from haarlequin.models.widths import Widths
from haarlequin.sw.explorer.sizes import Choice, sized

RUNS = Path(__file__).with_name("runs.json")
BOARD = "ulx3s-85f"


@dataclass(frozen=True)
class Run:
    """A machine that was synthesised, and the cells that it took, by `RESOURCES`."""

    model: str
    """The preset that it was sized for."""
    held_out: bool
    """Whether the cost model must not be fitted to it, because it is to show its error."""
    machine: AcceleratorConfig
    cells: dict[str, int]


POINTS: dict[str, str] = {
    "digits": "2x64 4x64 8x32s 8x64",
    "cifar10-nano": "4x64 8x64s 16x64 16x128",
    "cifar10-hybrid": "4x96w 8x96w 8x128ws 16x64 16x128w",
    "cifar10-tiny": "16x64 12x96s",
    "cifar10-hybrid-large": "4x128 8x128 8x256w 8x384w 16x128",
    "camvid-16x12": "16x128w",
}
"""Lanes and bits of a word of the machines that are synthesised for each model: ``w`` is with windows, ``s``
with partial sums in bank A.
"""

PRESETS = {"cifar10-hybrid": ["8x64-hybrid"], "cifar10-hybrid-large": ["16x256", "32x128"]}
"""Accelerators of `hw.presets` that are synthesised as well, by the model that they were made for."""

HELD_OUT: dict[str, str] = {
    "digits": "4x32",
    "cifar10-nano": "12x48s 8x128",
    "cifar10-hybrid": "8x192w 16x96w",
    "cifar10-hybrid-large": "8x192w 16x192w",
    "camvid-16x12": "16x64",
}
"""The same, of the machines on which the error of the cost model is measured."""


def choices(text: str) -> list[Choice]:
    """The machines that a text of `POINTS` names."""
    found = []
    for word in text.split():
        lanes, width, suffix = re.fullmatch(r"(\d+)x(\d+)([ws]*)", word).groups()  # type: ignore[union-attr]
        found.append(Choice(int(lanes), int(width), "s" not in suffix, suffix.count("w")))
    return found


def load(path: Path = RUNS) -> list[Run]:
    """The runs in a file. Those of machines that today's RTL cannot have raise `ConfigError`."""
    return [_run(**values) for values in json.loads(path.read_text(encoding="utf-8"))]


def _run(machine: dict[str, Any], **values: Any) -> Run:
    widths: dict[str, Any]
    widths = {key: tuple(v) if isinstance(v, list) else v for key, v in machine["widths"].items()}
    return Run(machine=AcceleratorConfig(**machine | {"widths": Widths(**widths)}), **values)


def save(runs: list[Run], path: Path = RUNS) -> None:
    """Write runs into a file, one in a line."""
    lines = [json.dumps(asdict(run)) for run in runs]
    write_text(path, "[\n" + ",\n".join(lines) + "\n]\n")


def measure(folder: Path, path: Path = RUNS) -> None:
    """Make the runs that ``path`` lacks, and add each as soon as it is made."""
    known = {
        (run.model, run.held_out, run.machine.digest): run for run in (load(path) if path.exists() else [])
    }
    wanted = list(_wanted())
    runs = [known[key] for key, *_ in wanted if key in known]
    with tqdm(wanted, unit=" machines", disable=None) as bar:
        for key, name, held_out, machine in bar:
            if key in known:
                continue
            bar.set_description(f"{machine.name} for {name}")
            runs.append(Run(name, held_out, machine, synthesise(machine, folder / machine.name)))
            save(runs, path)
    save(runs, path)  # without those that are no longer wanted


def _wanted() -> Iterator[tuple[tuple[str, bool, int], str, bool, AcceleratorConfig]]:
    for name, presets in PRESETS.items():
        for machine in map(accelerator, presets):
            assert isinstance(machine, AcceleratorConfig)
            yield (name, False, machine.digest), name, False, machine
    for points, held_out in ((POINTS, False), (HELD_OUT, True)):
        for name, text in points.items():
            model = GoldenModel.blank(preset(name))
            for choice in choices(text):
                machine = sized(model, choice).machine
                yield (name, held_out, machine.digest), name, held_out, machine


def synthesise(machine: AcceleratorConfig, folder: Path) -> dict[str, int]:
    """The cells that a board's design with this machine takes, as nextpnr packs them, by `RESOURCES`."""
    target = board(BOARD)
    flow = Flow(target, machine, target.clock_hz, target.baud, folder)
    flow.synthesise()
    log = folder / "cells.log"
    arguments = ["--85k", "--json", flow.netlist.name, "--lpf", flow.pins.name, "--pack-only"]
    tools.run(flow.family.nextpnr, [*arguments, "--package", "CABGA381"], log, NEXTPNR_MILESTONES)
    return {name: _used(log.read_text(encoding="utf-8"), bel) for name, bel in flow.family.bels.items()}


def _used(log: str, bel: str) -> int:
    found = re.findall(rf"\b{bel}: +(\d+)/", log)
    if not found:
        raise UsageError(f"nextpnr does not say how many {bel} it packed")
    return int(found[-1])
