"""What differs between the families of FPGAs: their tools, and the names of their cells."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from amaranth.build import Platform

PLACED = "placed.json"
"""What nextpnr makes of the netlist: the same with a place for each cell."""

REPORT = "report.json"
"""What nextpnr says of it."""

COLUMNS = ("lut4", "ff", "bram", "dsp")

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


@dataclass(frozen=True)
class Family(ABC):
    """A family and its flow."""

    synth_opts: str
    cells: Mapping[str, Mapping[str, int]]
    """By column, what cells of the netlist count in it, and for how many."""
    bels: Mapping[str, str]
    """By column, its places in nextpnr's report."""
    constraints: str
    """Suffix of the file that places the pins."""
    nextpnr: str
    packer: str
    bitstream: str
    """Suffix of what the packer makes."""
    routed: str
    """What nextpnr writes for the packer."""
    netlist: str = "top.json"
    """What yosys makes."""
    prepare: str = PREPARE
    shared: frozenset[str] = frozenset()
    """Columns whose places are those of another: the netlist says how many are used."""

    @abstractmethod
    def route(self, platform: Platform, seed: int, placer: str) -> list[str]:
        """Arguments of nextpnr on the netlist, its report into `REPORT`."""

    @abstractmethod
    def pack(self, platform: Platform) -> list[str]:
        """Arguments of the packer on what nextpnr wrote."""

    def _nextpnr(self, seed: int, placer: str) -> list[str]:
        files = ["--json", self.netlist, "--report", REPORT]
        # A clock that is missed is this flow's own error, with more to say than nextpnr.
        return [*files, "--seed", str(seed), "--placer", placer, "--timing-allow-fail", "--write", PLACED]


class Ecp5(Family):
    """Lattice ECP5, by Project Trellis."""

    def route(self, platform: Platform, seed: int, placer: str) -> list[str]:
        package = platform._nextpnr_package_options[platform.package].upper()
        part = [platform._nextpnr_device_options[platform.device], "--package", package]
        files = ["--lpf", "top.lpf", "--textcfg", self.routed]
        # router1, the default here, takes an hour on half an 85F.
        return [*self._nextpnr(seed, placer), *part, "--speed", platform.speed, "--router", "router2", *files]

    def pack(self, platform: Platform) -> list[str]:
        return ["--compress", "--input", self.routed, "--bit", f"top.{self.bitstream}"]


class Gowin(Family):
    """Gowin, by Project Apicula."""

    def route(self, platform: Platform, seed: int, placer: str) -> list[str]:
        options = {"family": platform.die, "cst": "top.cst"}
        part = ["--device", platform.part, *(f"--vopt={name}={value}" for name, value in options.items())]
        return [*self._nextpnr(seed, placer), *part]

    def pack(self, platform: Platform) -> list[str]:
        return ["-d", platform.die, "-o", f"top.{self.bitstream}", self.routed]


class Ice40(Family):
    """Lattice iCE40, by Project IceStorm."""

    def route(self, platform: Platform, seed: int, placer: str) -> list[str]:
        package = platform.package.lower() + platform._nextpnr_package_options.get(platform.device, "")
        part = [platform._nextpnr_device_options[platform.device], "--package", package]
        return [*self._nextpnr(seed, placer), *part, "--pcf", "top.pcf", "--asc", self.routed]

    def pack(self, platform: Platform) -> list[str]:
        return [self.routed, f"top.{self.bitstream}"]


FAMILIES: dict[str, Family] = {
    "ecp5": Ecp5(
        # Wide multiplexers made of LUT4 pairs cost more LUTs than they save here.
        synth_opts="-nowidelut",
        cells={
            # A carry cell is two LUT4; a 16x4 distributed RAM four, and two for its writing.
            "lut4": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
            "ff": {"TRELLIS_FF": 1},
            "bram": {"DP16KD": 1},
            "dsp": {"MULT18X18D": 1},
        },
        bels={"lut4": "TRELLIS_COMB", "ff": "TRELLIS_FF", "bram": "DP16KD", "dsp": "MULT18X18D"},
        constraints="lpf",
        nextpnr="nextpnr-ecp5",
        packer="ecppack",
        routed="top.config",
        bitstream="bit",
    ),
    "gowin": Gowin(
        # Distributed RAM lies on 12 of 53 rows, and between chains of carries nextpnr finds no place for it.
        # Adders made of lookup tables take no more of them.
        synth_opts="-noalu",
        cells={
            "lut4": {"LUT1": 1, "LUT2": 1, "LUT3": 1, "LUT4": 1, "RAM16SDP4": 4},
            "ff": {f"DFF{kind}": 1 for kind in ("", "E", "S", "SE", "R", "RE", "P", "PE", "C", "CE")},
            "bram": dict.fromkeys(("SP", "SPX9", "SDPB", "SDPX9B", "DPB", "DPX9B"), 1),
            "dsp": {"MULT9X9": 1, "MULT18X18": 1},
        },
        bels={"lut4": "LUT4", "ff": "DFF", "bram": "BSRAM", "dsp": "MULT18X18"},
        constraints="cst",
        nextpnr="nextpnr-himbaechel-gowin",
        packer="gowin_pack",
        routed=PLACED,
        bitstream="fs",
        netlist="top.syn.json",
    ),
    "ice40": Ice40(
        synth_opts="-dsp -device u",
        cells={
            # A logic cell is one with a carry and a flip-flop; nextpnr counts those without one too.
            "lut4": {"SB_LUT4": 1},
            "ff": {
                f"SB_DFF{edge}{enable}{reset}": 1
                for edge in ("", "N")
                for enable in ("", "E")
                for reset in ("", "SR", "SS", "R", "S")
            },
            "bram": {f"SB_RAM40_4K{edges}": 1 for edges in ("", "NR", "NW", "NRNW")},
            "dsp": {"SB_MAC16": 1},
        },
        bels={"lut4": "ICESTORM_LC", "ff": "ICESTORM_LC", "bram": "ICESTORM_RAM", "dsp": "ICESTORM_DSP"},
        shared=frozenset({"ff"}),
        prepare=PREPARE_WITHOUT_DISTRIBUTED,
        constraints="pcf",
        nextpnr="nextpnr-ice40",
        packer="icepack",
        routed="top.asc",
        bitstream="bin",
    ),
}
