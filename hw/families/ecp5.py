"""Lattice ECP5, by Project Trellis."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Self

from amaranth.build import Platform
from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal, Value

from haarlequin.hw.families.ecp5_registers import absorb
from haarlequin.hw.families.family import Family, RamShape
from haarlequin.hw.families.pll import Pll, Range, Setting
from haarlequin.models.common.files import write_text

DELAY_STEP = 25e-12
"""Seconds of a step of a DELAYG (Lattice FPGA-DS-02012), of which there are 128."""


@dataclass(frozen=True)
class Ecp5Setting(Setting):
    """The dividers of an EHXPLLL with CLKOP as its feedback.

    output = input / reference · feedback, and oscillator = output · divider. The ranges are from Lattice
    FPGA-DS-02012, "sysCLOCK PLL Timing". Dividers and formula are those of Project Trellis' ecppll.
    """

    FAMILY = "ECP5"
    INPUT = Range.mhz("8", "400")
    PFD = Range.mhz("3.125", "400")
    VCO = Range.mhz("400", "800")
    OUTPUT = Range.mhz("3.125", "400")

    reference: int
    """CLKI_DIV, 1 to 128."""
    feedback: int
    """CLKFB_DIV, 1 to 80."""
    divider: int
    """CLKOP_DIV, 1 to 128."""

    @property
    def pfd(self) -> Fraction:
        return Fraction(self.input_hz, self.reference)

    @property
    def hertz(self) -> Fraction:
        return self.pfd * self.feedback

    @property
    def vco(self) -> Fraction:
        return self.hertz * self.divider

    @classmethod
    def candidates(cls, input_hz: int) -> Iterator[Self]:
        for reference in cls.references(input_hz, 128):
            for feedback in range(1, 80 + 1):
                fastest = cls.VCO.high * reference // (input_hz * feedback)
                yield cls(input_hz, reference, feedback, min(max(1, fastest), 128))

    def with_others(self, also: tuple[int, ...]) -> Iterator[Self]:
        if len(also) > 3:
            return
        for divider in range(self.divider, 0, -1) if also else [self.divider]:
            setting = replace(self, divider=divider, also=also)
            if all(setting.vco % hertz == 0 and setting.vco // hertz <= 128 for hertz in also):
                yield setting


class Ecp5Pll(Pll):
    """An EHXPLLL with the dividers of an `Ecp5Setting`.

    CLKOP is in phase with the input if CPHASE is one VCO cycle less than its divider, as Lattice Diamond sets
    it. ecppll sets it half a period later, which makes no difference for a single output that is its own
    feedback. Up to three further outputs are CLKOS, CLKOS2 and CLKOS3, in phase, too. Charge pump and
    loop filter are set as ecppll does.
    """

    setting: Ecp5Setting

    def elaborate(self, platform):
        m, setting = Module(), self.setting
        others: dict[str, object] = {}
        for name, hertz, output in zip(
            ("CLKOS", "CLKOS2", "CLKOS3"), setting.also, self.others, strict=False
        ):
            divider = setting.vco // hertz
            others |= {f"p_{name}_ENABLE": "ENABLED", f"p_{name}_DIV": divider, f"o_{name}": output}
            others |= {f"p_{name}_CPHASE": divider - 1, f"p_{name}_FPHASE": 0, f"i_EN{name}": Const(0)}
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_CLKI_DIV=setting.reference,
            p_CLKFB_DIV=setting.feedback,
            p_FEEDBK_PATH="CLKOP",
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=setting.divider,
            p_CLKOP_CPHASE=setting.divider - 1,
            p_CLKOP_FPHASE=0,
            i_CLKI=self.clock,
            i_CLKFB=self.output,
            i_RST=Const(0),
            i_STDBY=Const(0),
            i_PHASESEL0=Const(0),
            i_PHASESEL1=Const(0),
            i_PHASEDIR=Const(1),
            i_PHASESTEP=Const(1),
            i_PHASELOADREG=Const(1),
            i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0),
            o_CLKOP=self.output,
            o_LOCK=self.locked,
            **others,
        )
        return m


class Ecp5(Family):
    """The flow of an ECP5, and the access to its flash."""

    def finish(self, folder: Path) -> None:
        design = json.loads((folder / self.mapped).read_text(encoding="utf-8"))
        absorb(design["modules"]["top"])
        write_text(folder / self.netlist, json.dumps(design))

    def route(self, platform: Platform, seed: int, placer: str) -> list[str]:
        package = platform._nextpnr_package_options[platform.package].upper()
        part = [platform._nextpnr_device_options[platform.device], "--package", package]
        files = ["--lpf", "top.lpf", "--textcfg", self.routed]
        # router1, the default of the ECP5, takes an hour for a design that fills half of an 85F.
        return [*self._nextpnr(seed, placer), *part, "--speed", platform.speed, "--router", "router2", *files]

    def pack(self, platform: Platform) -> list[str]:
        return ["--compress", "--input", self.routed, "--bit", f"top.{self.bitstream}"]

    def pin_register(self, m: Module, domain: str, value: Value) -> Value:
        held = Signal()
        m.submodules += Instance(
            "OFS1P3BX",
            i_SCLK=ClockSignal(domain),
            i_SP=Const(1),
            i_PD=Const(0),
            i_D=value,
            o_Q=held,
        )
        return held

    def clock_for_pin(self, m: Module, domain: str, seconds: float) -> Value:
        clock, later = Signal(), Signal()
        m.submodules.pin_clock = Instance(
            "ODDRX1F",
            i_SCLK=ClockSignal(domain),
            i_RST=Const(0),
            i_D0=Const(1),
            i_D1=Const(0),
            o_Q=clock,
        )
        m.submodules.pin_delay = Instance(
            "DELAYG",
            p_DEL_MODE="SCLK_ALIGNED",
            p_DEL_VALUE=round(seconds / DELAY_STEP),
            i_A=clock,
            o_Z=later,
        )
        return later

    def flash_clock(self, m: Module, clock: Value, idle: Value) -> bool:
        # The clock of the flash has no ordinary pin: only this primitive drives it.
        m.submodules.flash_clock = Instance("USRMCLK", i_USRMCLKI=clock, i_USRMCLKTS=idle)
        return True


ECP5 = Ecp5(
    name="ecp5",
    setting=Ecp5Setting,
    pll=Ecp5Pll,
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
        # A carry cell takes two LUT4. A 16x4 distributed RAM takes four, and two more for its writes.
        "lut4": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
        "ff": {"TRELLIS_FF": 1},
        "bram": {"DP16KD": 1},
        "dsp": {"MULT18X18D": 1},
    },
    bels={"lut4": "TRELLIS_COMB", "ff": "TRELLIS_FF", "bram": "DP16KD", "dsp": "MULT18X18D"},
    models=(
        "lattice/common_sim.vh",
        "lattice/ccu2c_sim.vh",
        "lattice/cells_sim_ecp5.v",
        "lattice/cells_ff.vh",
    ),
    synth="synth_ecp5",
    # Wide multiplexers made of LUT4 pairs cost more LUTs than they save here.
    synth_opts="-nowidelut",
    netlist="registers.json",
    constraints="lpf",
    nextpnr="nextpnr-ecp5",
    packer="ecppack",
    routed="top.config",
    bitstream="bit",
)
