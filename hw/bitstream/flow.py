"""A board's accelerator through the stages, each done again only where what it depends on has changed."""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hw.boards.board import Board
from hw.boards.top import BoardTop
from hw.config import AcceleratorConfig

from . import tools
from .families import FAMILIES

YOSYS_MILESTONES = r"^\d+\.\d+\. Executing"
NEXTPNR_MILESTONES = r"(Packing|Placed|placement|Running|Routing|arcs|Max frequency|Checksum)"


class Flow:
    """The stages of one design, in a folder of its own, one after the other.

    ``clock_hz`` and ``baud`` are wishes; `top` has what is made of them. ``seconds`` adds up what the stages
    took, those of an earlier build too.
    """

    def __init__(self, target: Board, config: AcceleratorConfig, clock_hz: int, baud: int, folder: Path):
        self.target, self.family, self.folder = target, FAMILIES[target.family], folder
        self.top = BoardTop(target, config, clock_hz, baud)
        self.platform = target.platform()
        self.seconds = 0.0
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def netlist(self) -> Path:
        """What yosys makes, as JSON."""
        return self.folder / self.family.netlist

    @property
    def bitstream(self) -> Path:
        """What the packer makes."""
        return self.folder / f"top.{self.family.bitstream}"

    def synthesise(self) -> None:
        """Amaranth and yosys."""
        family, suffixes = self.family, ("il", "ys", self.family.constraints)
        options = {"script_after_read": family.prepare, "synth_opts": family.synth_opts}
        plan = self.platform.prepare(self.top, "top", **options)
        texts = {suffix: _text(plan.files[f"top.{suffix}"]) for suffix in suffixes}
        for suffix, text in texts.items():
            (self.folder / f"top.{suffix}").write_text(text)
        with self._stage("synthesis", texts["il"], texts["ys"], tools.version("yosys")) as due:
            if due:
                tools.run("yosys", [tools.tool("yosys"), "-s", "top.ys"], self.folder, YOSYS_MILESTONES)

    def route(self, seed: int, placer: str) -> None:
        """nextpnr; its report is ``report.json`` in the folder."""
        pins = (self.folder / f"top.{self.family.constraints}").read_text()
        command = self.family.route(self.platform, seed, placer)
        inputs = self.netlist.read_text(), pins, *command[1:], tools.version(self.family.nextpnr)
        with self._stage("place and route", *inputs) as due:
            if due:
                tools.run("nextpnr", command, self.folder, NEXTPNR_MILESTONES)

    def pack(self) -> None:
        """The bitstream."""
        with self._stage("packing", self._stamp("place and route").read_text()) as due:
            if due:
                tools.run("pack", self.family.pack(self.platform), self.folder, "^$")

    def _stamp(self, name: str) -> Path:
        return self.folder / f"{name.replace(' ', '-')}.stamp"

    @contextmanager
    def _stage(self, name: str, *inputs: str) -> Iterator[bool]:
        """Whether the block has anything to do."""
        digest, stamp = hashlib.sha256("\0".join(inputs).encode()).hexdigest(), self._stamp(name)
        before = json.loads(stamp.read_text()) if stamp.exists() else {}
        if before.get("digest") == digest:
            print(f"{name}: as before")
            self.seconds += before["seconds"]
            yield False
            return
        stamp.unlink(missing_ok=True)
        print(f"{name} …", flush=True)
        start = time.monotonic()
        yield True
        seconds = time.monotonic() - start
        stamp.write_text(json.dumps({"digest": digest, "seconds": seconds}))
        self.seconds += seconds
        print(f"{name}: {seconds:.0f} s", flush=True)


def _text(content: str | bytes) -> str:
    return content.decode() if isinstance(content, bytes) else content
