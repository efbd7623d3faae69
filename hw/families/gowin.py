"""Gowin GW2A, by Project Apicula."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

from amaranth.build import Platform
from amaranth.hdl import Const, Instance, Module

from haarlequin.hw.families.family import PLACED, Family, RamShape
from haarlequin.hw.families.pll import Pll, Range, Setting, decimal


@dataclass(frozen=True)
class GowinSetting(Setting):
    """The dividers of an rPLL of a GW2AR-18 C8/I7.

    output = input / (IDIV_SEL + 1) · (FBDIV_SEL + 1), and oscillator = output · ODIV_SEL. The ranges are from
    Gowin DS226, as in Project Apicula, which refuses all others. The formula is from Gowin UG286.
    """

    FAMILY = "GW2AR-18"
    INPUT = PFD = Range.mhz("3", "500")
    VCO = Range.mhz("500", "1250")
    OUTPUT = Range.mhz("3.90625", "625")
    ODIVS = (2, 4, 8, *range(16, 128 + 1, 16))

    idiv: int
    """IDIV_SEL, 0 to 63."""
    fbdiv: int
    """FBDIV_SEL, 0 to 63."""
    odiv: int
    """ODIV_SEL, one of `ODIVS`."""

    @property
    def pfd(self) -> Fraction:
        return Fraction(self.input_hz, self.idiv + 1)

    @property
    def hertz(self) -> Fraction:
        return self.pfd * (self.fbdiv + 1)

    @property
    def vco(self) -> Fraction:
        return self.hertz * self.odiv

    @classmethod
    def candidates(cls, input_hz: int) -> Iterator[Self]:
        for reference in cls.references(input_hz, 64):
            for fbdiv in range(64):
                fastest = cls.VCO.high * reference / (input_hz * (fbdiv + 1))
                odiv = max((n for n in cls.ODIVS if n <= fastest), default=2)
                yield cls(input_hz, reference - 1, fbdiv, odiv)


class GowinPll(Pll):
    """An rPLL with the dividers of a `GowinSetting`."""

    setting: GowinSetting

    def elaborate(self, platform):
        m, setting = Module(), self.setting
        m.submodules.pll = Instance(
            "rPLL",
            p_DEVICE="GW2AR-18C",
            p_FCLKIN=decimal(setting.input_hz),
            p_IDIV_SEL=setting.idiv,
            p_FBDIV_SEL=setting.fbdiv,
            p_ODIV_SEL=setting.odiv,
            p_CLKFB_SEL="internal",
            i_CLKIN=self.clock,
            i_CLKFB=Const(0),
            i_RESET=Const(0),
            i_RESET_P=Const(0),
            i_IDSEL=Const(0, 6),
            i_FBDSEL=Const(0, 6),
            i_ODSEL=Const(0, 6),
            i_PSDA=Const(0, 4),
            i_DUTYDA=Const(0, 4),
            i_FDLY=Const(0, 4),
            o_CLKOUT=self.output,
            o_LOCK=self.locked,
        )
        return m


class Gowin(Family):
    """The flow of a Gowin."""

    def route(self, platform: Platform, seed: int, placer: str) -> list[str]:
        options = {"family": platform.die, "cst": "top.cst"}
        part = ["--device", platform.part, *(f"--vopt={name}={value}" for name, value in options.items())]
        return [*self._nextpnr(seed, placer), *part]

    def pack(self, platform: Platform) -> list[str]:
        return ["-d", platform.die, "-o", f"top.{self.bitstream}", self.routed]


GOWIN = Gowin(
    name="gowin",
    setting=GowinSetting,
    pll=GowinPll,
    block_rams=(
        RamShape(512, 36, enabled=9),
        RamShape(1024, 18, enabled=9),
        RamShape(2048, 9, enabled=9),
        RamShape(4096, 4, enabled=4),
        RamShape(8192, 2, enabled=2),
        RamShape(16384, 1, enabled=1),
    ),
    distributed=RamShape(16, 4, enabled=4),
    cells={
        "lut4": {"LUT1": 1, "LUT2": 1, "LUT3": 1, "LUT4": 1, "RAM16SDP4": 4},
        "ff": {f"DFF{kind}": 1 for kind in ("", "E", "S", "SE", "R", "RE", "P", "PE", "C", "CE")},
        "bram": dict.fromkeys(("SP", "SPX9", "SDPB", "SDPX9B", "DPB", "DPX9B"), 1),
        "dsp": {"MULT9X9": 1, "MULT18X18": 1},
    },
    bels={"lut4": "LUT4", "ff": "DFF", "bram": "BSRAM", "dsp": "MULT18X18"},
    models=("gowin/cells_sim.v",),
    synth="synth_gowin",
    # Distributed RAM is possible in only 12 of 53 rows, and nextpnr finds no place for it between carry
    # chains. Adders made of lookup tables do not take more of these.
    synth_opts="-noalu",
    constraints="cst",
    nextpnr="nextpnr-himbaechel-gowin",
    packer="gowin_pack",
    routed=PLACED,
    bitstream="fs",
    mapped="top.syn.json",
    netlist="top.syn.json",
)
