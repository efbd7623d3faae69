"""A board's accelerator through the stages, each done again only where what it depends on has changed."""

import time
from collections.abc import Sequence
from pathlib import Path

from haarlequin.hw.bitstream import tools
from haarlequin.hw.boards.board import Board
from haarlequin.hw.boards.top import BoardTop
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.families import FAMILIES
from haarlequin.hw.families.family import PLACED, REPORT
from haarlequin.models.common import stamps
from haarlequin.models.common.files import write_text
from haarlequin.models.common.places import writable

YOSYS_MILESTONES = r"^(\d+\.\d+\. Executing|Preparing)"
NEXTPNR_MILESTONES = r"(^Preparing|Packing|Placed|placement|Running|Routing|arcs|Max frequency|Checksum)"

SUMMARY = "summary.json"
"""A stamp on the bitstream, with what was built and what it took as its facts."""


class Flow:
    """The stages of one design, in a folder of its own, one after the other.

    ``clock_hz`` and ``baud`` are wishes; `top` has what is made of them. ``seconds`` adds up what the stages
    took, those of an earlier build too. Whoever runs the stages keeps others out of the folder meanwhile
    (`models.common.files.locked`).
    """

    def __init__(self, target: Board, config: AcceleratorConfig, clock_hz: int, baud: int, folder: Path):
        self.target, self.family, self.folder, self.baud = target, FAMILIES[target.family], folder, baud
        self.top = BoardTop(target, config, clock_hz, baud)
        self.platform = target.platform()
        self.seconds = 0.0
        writable(folder)

    @property
    def netlist(self) -> Path:
        """What yosys makes, as JSON."""
        return self.folder / self.family.netlist

    @property
    def bitstream(self) -> Path:
        """What the packer makes."""
        return self.folder / f"top.{self.family.bitstream}"

    @property
    def pins(self) -> Path:
        """Where the board's pins are, for nextpnr."""
        return self.folder / f"top.{self.family.constraints}"

    def synthesise(self) -> None:
        """Amaranth and yosys."""
        family, script = self.family, self.folder / "top.ys"
        options = {"script_after_read": family.prepare, "synth_opts": family.synth_opts}
        plan = self.platform.prepare(self.top, "top", **options)
        design = self.folder / "top.il"
        for path in (design, script, self.pins):
            content = plan.files[path.name]
            write_text(path, content.decode() if isinstance(content, bytes) else content)
        stage = "synthesis", "yosys", ["-s", script.name]
        self._stage(*stage, [design, script], [self.netlist], YOSYS_MILESTONES)

    def route(self, seed: int, placer: str) -> None:
        """nextpnr; its report is `REPORT` in the folder."""
        arguments = self.family.route(self.platform, seed, placer)
        made = [self.folder / name for name in sorted({PLACED, REPORT, self.family.routed})]
        stage = "place and route", self.family.nextpnr, arguments
        self._stage(*stage, [self.netlist, self.pins], made, NEXTPNR_MILESTONES)

    def pack(self) -> None:
        """The bitstream."""
        arguments, routed = self.family.pack(self.platform), self.folder / self.family.routed
        self._stage("packing", self.family.packer, arguments, [routed], [self.bitstream], "^$")

    def summarise(self, **found) -> None:
        """Write `SUMMARY`: the bitstream is what these facts say."""
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
        """Run ``program`` in the folder, unless the outputs are there as it made them from these inputs."""
        by, stamp = tools.version(program), self.folder / f"{name.replace(' ', '-')}.stamp"
        made_from = stamps.digest(by, *arguments, *inputs)
        before = stamps.facts(stamp, made_from)
        if before is not None:
            print(f"{name}: as before, by {by}", flush=True)
            self.seconds += before["seconds"]
            return
        # An interrupted run must leave nothing that an earlier stamp could mean.
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
