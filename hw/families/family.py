"""`Family`: all that is to know of a family of FPGAs, in one record."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from amaranth.build import Platform
from amaranth.hdl import Module, Value

from haarlequin.hw.families.pll import Pll, Setting

PLACED = "placed.json"
"""The netlist as nextpnr writes it, with a place for each cell."""

REPORT = "report.json"
"""The report of nextpnr."""

RESOURCES = ("lut4", "ff", "bram", "dsp")
"""The resources that a design takes and a part has."""

PREPARE = """
# Amaranth names the elements of an array port like the bits of a vector, which abc9 takes for a clash.
rename -hide w:*[*]
# No word that matters is read while it is written, in any memory with a clocked read port: the schedule keeps
# a program's accesses apart, and tables are written while the machine rests. What relies on such reads has
# transparent ports. Otherwise yosys would add registers and a bypass to every bank.
setparam -set COLLISION_X_MASK 1'1 t:$memrd_v2 r:CLK_ENABLE=1 %i r:TRANSPARENCY_MASK=1'0 %i
"""
"""yosys commands between reading a design and synthesising it."""

PREPARE_WITHOUT_DISTRIBUTED = f"""{PREPARE}
# There is no distributed RAM to ask for: yosys chooses between block RAM and flip-flops.
setattr -unset ram_style m:*
"""
"""The same for parts whose lookup tables are no memories."""


class RamShape(NamedTuple):
    """One way to use a RAM."""

    words: int
    bits: int
    enabled: int
    """Bits that share a write enable."""


@dataclass(frozen=True)
class Family(ABC):
    """A family, its parts and its flow."""

    name: str
    """By which boards, commands and files call it."""
    setting: type[Setting]
    """Solves for the dividers of its PLL."""
    pll: type[Pll]
    """The component, made with such a setting."""
    block_rams: tuple[RamShape, ...]
    """Shapes of a block RAM, the widest first."""
    distributed: RamShape | None
    """A RAM that lookup tables make, where they can."""
    cells: Mapping[str, Mapping[str, int]]
    """By resource, what cells of the netlist count for it, and for how many."""
    bels: Mapping[str, str]
    """By resource, its places in nextpnr's report."""
    models: tuple[str, ...]
    """Files below yosys' ``share`` with models of its primitives."""
    synth: str
    """The command of yosys."""
    synth_opts: str
    """Its options."""
    constraints: str
    """Suffix of the file that places the pins."""
    nextpnr: str
    packer: str
    bitstream: str
    """Suffix of the file that the packer makes."""
    routed: str
    """The file that nextpnr writes for the packer."""
    netlist: str = "top.json"
    """The file that yosys makes."""
    prepare: str = PREPARE
    shared: frozenset[str] = frozenset()
    """Resources whose places are those of another: the netlist says how many are used."""

    @abstractmethod
    def route(self, platform: Platform, seed: int, placer: str) -> list[str]:
        """Arguments of nextpnr on the netlist, its report into `REPORT`."""

    @abstractmethod
    def pack(self, platform: Platform) -> list[str]:
        """Arguments of the packer on what nextpnr wrote."""

    def flash_clock(self, m: Module, clock: Value, idle: Value) -> bool:
        """Bring the clock to the flash that the part starts from, where that takes a primitive; whether it
        did. Where not, the clock has a pin.
        """
        return False

    def _nextpnr(self, seed: int, placer: str) -> list[str]:
        files = ["--json", self.netlist, "--report", REPORT]
        # A clock that is missed is this flow's own error, with more to say than nextpnr.
        return [*files, "--seed", str(seed), "--placer", placer, "--timing-allow-fail", "--write", PLACED]
