"""`Family`: one record of the facts about a family of FPGAs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from amaranth.build import Platform
from amaranth.hdl import Module, Signal, Value

from haarlequin.hw.families.pll import Pll, Setting

PLACED = "placed.json"
"""The netlist as nextpnr writes it, with a place for each cell."""

REPORT = "report.json"
"""The report of nextpnr."""

RESOURCES = ("lut4", "ff", "bram", "dsp")
"""The kinds of resources that a part has, and that a design takes."""

PREPARE = """
# Amaranth names the elements of an array port like the bits of a vector, which abc9 takes for a clash.
rename -hide w:*[*]
# A register of its own for each few lanes (`hw.common.pipeline.spread`), though all have the same value.
setattr -set keep 1 w:near_lanes_* %ci1:+[Q] t:$*dff* %i
# No word that matters is read while it is written, in any memory with a clocked read port: the schedule keeps
# a program's accesses apart, and tables are written while the machine rests. What relies on such reads has
# transparent ports. Otherwise yosys would add registers and a bypass to every bank.
# Those of lines stay as they are: yosys stops where a mask is about a port of another clock, and what is read
# in LUNA's is not for us to say.
select -set lines *.crossing_*/* *.usb.*/*
setparam -set COLLISION_X_MASK 1'1 t:$memrd_v2 r:CLK_ENABLE=1 %i r:TRANSPARENCY_MASK=1'0 %i @lines %d
"""
"""The yosys commands that come after reading a design and before its synthesis."""

PREPARE_WITHOUT_DISTRIBUTED = f"""{PREPARE}
# There is no distributed RAM to ask for: yosys chooses between block RAM and flip-flops.
setattr -unset ram_style m:*
"""
"""The same commands, for parts whose lookup tables cannot be memories."""


class RamShape(NamedTuple):
    """One of the shapes in which a RAM can be used: a number of words, and bits of a word."""

    words: int
    bits: int
    enabled: int
    """How many bits share a write enable."""


@dataclass(frozen=True)
class Family(ABC):
    """A family of FPGAs, with its resources and the flow to its bitstream."""

    name: str
    """The name that boards, commands and files use."""
    setting: type[Setting]
    """The class that finds the dividers of its PLL."""
    pll: type[Pll]
    """The PLL, a component that is made with such a setting."""
    block_rams: tuple[RamShape, ...]
    """The shapes of a block RAM, the widest first."""
    distributed: RamShape | None
    """The shape of a RAM made of lookup tables, or None if there is none."""
    cells: Mapping[str, Mapping[str, int]]
    """For each resource, the cells of a netlist that take it, and how much of it one cell takes."""
    bels: Mapping[str, str]
    """For each resource, the name of its places in the report of nextpnr."""
    models: tuple[str, ...]
    """The files below the ``share`` folder of yosys that have models of its primitives."""
    synth: str
    """The synthesis command of yosys."""
    synth_opts: str
    """The options of that command."""
    constraints: str
    """The suffix of the file that places the pins."""
    nextpnr: str
    """The name of its nextpnr."""
    packer: str
    """The name of the program that makes the bitstream."""
    bitstream: str
    """The suffix of the file that the packer makes."""
    routed: str
    """The file that nextpnr writes for the packer."""
    mapped: str = "top.json"
    """The file that yosys makes."""
    netlist: str = "top.json"
    """The netlist that nextpnr places: the same file, or what `finish` makes of it."""
    prepare: str = PREPARE
    shared: frozenset[str] = frozenset()
    """Resources that share their places with another resource, so only the netlist tells their number."""

    @abstractmethod
    def route(self, platform: Platform, seed: int, placer: str) -> list[str]:
        """The arguments with which nextpnr routes the netlist and writes its report to `REPORT`."""

    @abstractmethod
    def pack(self, platform: Platform) -> list[str]:
        """The arguments with which the packer makes a bitstream of the routed design."""

    def finish(self, folder: Path) -> None:  # noqa: B027 — most families have nothing to do here
        """Make the file `netlist` of what yosys has made in the folder, where they are not the same."""

    def flash_clock(self, m: Module, clock: Value, idle: Value) -> bool:
        """Connect the clock of the flash from which the part starts, if that needs a primitive.

        Returns whether it has done so. If not, the clock has an ordinary pin.
        """
        return False

    def pin_register(self, m: Module, domain: str, value: Value) -> Value:
        """A register before a pin that is driven, at the pin itself where the part has such registers.

        It takes a bit and begins high. Nothing else may read its output, which is returned.
        """
        held = Signal(init=1)
        m.d[domain] += held.eq(value)
        return held

    def clock_for_pin(self, m: Module, domain: str, seconds: float) -> Value:
        """A domain's clock for a pin that is driven, so much later than data that leave by the same clock.

        Nothing else may read it. Raises `NotImplementedError` where the family has no board that needs one.
        """
        raise NotImplementedError(f"{self.name} has no clock for a pin")

    def _nextpnr(self, seed: int, placer: str) -> list[str]:
        files = ["--json", self.netlist, "--report", REPORT]
        # nextpnr does not fail if the clock is missed, because the error of this flow says more about it.
        return [*files, "--seed", str(seed), "--placer", placer, "--timing-allow-fail", "--write", PLACED]
