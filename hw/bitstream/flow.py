"""The stages from a board's accelerator to its bitstream. A stage runs only if its inputs have changed."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from haarlequin.hw.bitstream import tools
from haarlequin.hw.boards.board import Board
from haarlequin.hw.boards.top import BoardTop
from haarlequin.hw.config import AnyConfig
from haarlequin.hw.families import FAMILIES
from haarlequin.hw.families.family import PLACED, REPORT, RESOURCES
from haarlequin.models.common import stamps
from haarlequin.models.common.files import write_text
from haarlequin.models.common.places import writable

YOSYS_MILESTONES = r"^(\d+\.\d+\. Executing|Preparing)"
NEXTPNR_MILESTONES = r"(^Preparing|Packing|Placed|placement|Running|Routing|arcs|Max frequency|Checksum)"

SUMMARY = "summary.json"
"""The name of the bitstream's stamp. Its facts are what was built, and what that took."""

MADE = {"config": str, "clock_mhz": float, "fmax_mhz": float}
"""Facts that every reader of a `SUMMARY` needs, with their types."""

_CELLS = dict.fromkeys(RESOURCES, (0, 10**9))

_RANGES: dict[str, tuple[float, float]]
_RANGES = {"clock_mhz": (0.001, 1e6), "fmax_mhz": (0.001, 1e6), "baud": (1, 10**9)} | _CELLS
"""The least and the largest value of the numbers in a `SUMMARY`."""


def read_summary(summary: Path, more: Mapping[str, type] = MappingProxyType({})) -> dict[str, Any] | None:
    """The facts of a `SUMMARY`: those of `MADE`, and ``more`` by their types.

    None where it is cut off, was written for another bitstream than the one beside it, or has a number that
    no bitstream has.
    """
    kinds = MADE | dict(more)
    found = stamps.facts(summary, kinds=kinds)
    if found is None:
        return None
    numbers = [(found[name], limits) for name, limits in _RANGES.items() if name in kinds]
    if "available" in kinds:
        available = found["available"]
        if any(type(available.get(name)) is not int for name in _CELLS):
            return None
        numbers += [(available[name], limits) for name, limits in _CELLS.items()]
    return found if all(low <= value <= high for value, (low, high) in numbers) else None


class Flow:
    """The stages of one design, which run one after the other in a folder of its own.

    ``clock_hz`` and ``baud`` are wishes, and `top` has what comes of them. ``seconds`` is the time of all
    stages together; for a stage that did not run again it is the time of its last run. The caller keeps
    other processes out of the folder while the stages run (`models.common.files.locked`).
    """

    def __init__(self, target: Board, config: AnyConfig, clock_hz: int, baud: int, folder: Path):
        self.target, self.family, self.folder, self.baud = target, FAMILIES[target.family], folder, baud
        self.top = BoardTop(target, config, clock_hz, baud)
        self.platform = target.platform()
        self.seconds = 0.0
        writable(folder)

    @property
    def netlist(self) -> Path:
        """The path of the netlist that nextpnr places, as JSON."""
        return self.folder / self.family.netlist

    @property
    def bitstream(self) -> Path:
        """The path of the bitstream that the packer makes."""
        return self.folder / f"top.{self.family.bitstream}"

    @property
    def pins(self) -> Path:
        """The path of the file that tells nextpnr where the pins of the board are."""
        return self.folder / f"top.{self.family.constraints}"

    def synthesise(self) -> None:
        """Make the netlist with Amaranth and yosys."""
        family, script = self.family, self.folder / "top.ys"
        options = {"script_after_read": family.prepare, "synth_opts": family.synth_opts}
        plan = self.platform.prepare(self.top, "top", **options)
        design = self.folder / "top.il"
        for path in (design, script, self.pins):
            content = plan.files[path.name]
            write_text(path, content.decode() if isinstance(content, bytes) else content)
        stage = "synthesis", "yosys", ["-s", script.name]
        self._stage(*stage, [design, script], [self.folder / family.mapped], YOSYS_MILESTONES)
        family.finish(self.folder)

    def route(self, seed: int, placer: str) -> None:
        """Place and route the netlist with nextpnr, which writes its report to `REPORT` in the folder."""
        arguments = self.family.route(self.platform, seed, placer)
        made = [self.folder / name for name in sorted({PLACED, REPORT, self.family.routed})]
        stage = "place and route", self.family.nextpnr, arguments
        self._stage(*stage, [self.netlist, self.pins], made, NEXTPNR_MILESTONES)

    def pack(self) -> None:
        """Make the bitstream from the routed design."""
        arguments, routed = self.family.pack(self.platform), self.folder / self.family.routed
        self._stage("packing", self.family.packer, arguments, [routed], [self.bitstream], "^$")

    def summarise(self, **found: object) -> None:
        """Write `SUMMARY`, the stamp that says what the bitstream is, with these facts."""
        stamps.write(self.folder / SUMMARY, stamps.digest(), [self.bitstream], **found)

    def _stage(
        self,
        name: str,
        program: str,
        arguments: Sequence[str],
        inputs: Sequence[Path],
        outputs: Sequence[Path],
        milestones: str,
    ) -> None:
        """Run ``program`` in the folder, unless it has already made the outputs from the same inputs."""
        by, stamp = tools.version(program), self.folder / f"{name.replace(' ', '-')}.stamp"
        made_from = stamps.digest(by, *arguments, *inputs)
        before = stamps.facts(stamp, made_from, {"seconds": float})
        if before is not None:
            print(f"{name}: as before, by {by}", flush=True)
            self.seconds += before["seconds"]
            return
        # After an interrupted run, nothing may be left that an earlier stamp could describe.
        for path in outputs:
            path.unlink(missing_ok=True)
        print(f"{name} by {by} …", flush=True)
        start, log = time.monotonic(), self.folder / f"{program}.log"
        tools.run(program, arguments, log, milestones)
        for path in outputs:
            if not (path.exists() and path.stat().st_size):
                raise tools.ToolError(f"{program} ended well but did not write {path}; see {log}")
        seconds = time.monotonic() - start
        stamps.write(stamp, made_from, outputs, seconds=seconds)
        self.seconds += seconds
        print(f"{name}: {seconds:.0f} s", flush=True)
