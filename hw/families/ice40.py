"""Lattice iCE40, by Project IceStorm."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

from amaranth.build import Platform
from amaranth.hdl import Const, Instance, Module

from haarlequin.hw.families.family import PREPARE_WITHOUT_DISTRIBUTED, Family, RamShape
from haarlequin.hw.families.pll import MHZ, Pll, Range, Setting


@dataclass(frozen=True)
class Ice40Setting(Setting):
    """The dividers of an SB_PLL40 with SIMPLE feedback.

    oscillator = input / (DIVR + 1) · (DIVF + 1), and output = oscillator / 2^DIVQ. The ranges are those of
    Project IceStorm's icepll. So is DIVF up to 127, where Lattice FPGA-TN-02052 says 63.
    """

    FAMILY = "iCE40"
    INPUT = PFD = Range.mhz("10", "133")
    VCO = Range.mhz("533", "1066")
    OUTPUT = Range.mhz("16", "275")

    divr: int
    """0 to 15."""
    divf: int
    """0 to 127."""
    divq: int
    """1 to 6."""

    @property
    def pfd(self) -> Fraction:
        return Fraction(self.input_hz, self.divr + 1)

    @property
    def vco(self) -> Fraction:
        return self.pfd * (self.divf + 1)

    @property
    def hertz(self) -> Fraction:
        return self.vco / 2**self.divq

    @property
    def filter_range(self) -> int:
        """FILTER_RANGE, the loop filter for the frequency of the phase detector."""
        return 1 + sum(self.pfd >= limit * MHZ for limit in (17, 26, 44, 66, 101))

    @classmethod
    def candidates(cls, input_hz: int) -> Iterator[Self]:
        for reference in cls.references(input_hz, 16):
            for divf in range(128):
                for divq in range(1, 6 + 1):
                    yield cls(input_hz, reference - 1, divf, divq)


class Ice40Pll(Pll):
    """An SB_PLL40 with the dividers of an `Ice40Setting`.

    Parameters
    ----------
    setting : Ice40Setting
        The dividers.
    pad : bool
        If it is true (SB_PLL40_PAD), ``clock`` must be the input of a pin that has a PLL, and must go nowhere
        else. If it is false (SB_PLL40_CORE), ``clock`` may come from anywhere else, and then that pin must
        not be an input.
    """

    setting: Ice40Setting

    def __init__(self, setting: Ice40Setting, pad: bool = True):
        self.pad = pad
        super().__init__(setting)

    def elaborate(self, platform):
        m, setting = Module(), self.setting
        m.submodules.pll = Instance(
            "SB_PLL40_PAD" if self.pad else "SB_PLL40_CORE",
            ("i", "PACKAGEPIN" if self.pad else "REFERENCECLK", self.clock),
            p_FEEDBACK_PATH="SIMPLE",
            p_PLLOUT_SELECT="GENCLK",
            p_DIVR=Const(setting.divr, 4),
            p_DIVF=Const(setting.divf, 7),
            p_DIVQ=Const(setting.divq, 3),
            p_FILTER_RANGE=Const(setting.filter_range, 3),
            i_RESETB=Const(1),
            i_BYPASS=Const(0),
            o_PLLOUTGLOBAL=self.output,
            o_LOCK=self.locked,
        )
        return m


class Ice40(Family):
    """The flow of an iCE40."""

    def route(self, platform: Platform, seed: int, placer: str) -> list[str]:
        package = platform.package.lower() + platform._nextpnr_package_options.get(platform.device, "")
        part = [platform._nextpnr_device_options[platform.device], "--package", package]
        return [*self._nextpnr(seed, placer), *part, "--pcf", "top.pcf", "--asc", self.routed]

    def pack(self, platform: Platform) -> list[str]:
        return [self.routed, f"top.{self.bitstream}"]


ICE40 = Ice40(
    name="ice40",
    setting=Ice40Setting,
    pll=Ice40Pll,
    block_rams=(
        RamShape(256, 16, enabled=1),
        RamShape(512, 8, enabled=8),
        RamShape(1024, 4, enabled=4),
        RamShape(2048, 2, enabled=2),
    ),
    distributed=None,
    cells={
        # A logic cell is a lookup table, a carry and a flip-flop. nextpnr also counts one without a lookup
        # table.
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
    models=("ice40/cells_sim.v",),
    synth="synth_ice40",
    synth_opts="-dsp -device u",
    constraints="pcf",
    nextpnr="nextpnr-ice40",
    packer="icepack",
    routed="top.asc",
    bitstream="bin",
    prepare=PREPARE_WITHOUT_DISTRIBUTED,
    shared=frozenset({"ff"}),
)
