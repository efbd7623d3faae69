"""PLLs of the FPGA families: a board's clock to the one that timing was met for."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import ClassVar, Self

from amaranth.hdl import Const, Instance, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from haarlequin.models.common.errors import UsageError

MHZ = 10**6
TOLERANCE = Fraction(2, 100)
"""How far below the wish an output may be."""


@dataclass(frozen=True)
class Range:
    """Frequencies in Hz, ends included."""

    low: Fraction
    high: Fraction

    @classmethod
    def mhz(cls, low: str, high: str) -> "Range":
        """From decimals in MHz."""
        return cls(Fraction(low) * MHZ, Fraction(high) * MHZ)

    def __contains__(self, hertz: Fraction) -> bool:
        return self.low <= hertz <= self.high


@dataclass(frozen=True)
class Setting(ABC):
    """Dividers of a PLL on a clock of ``input_hz``; all frequencies are exact, in Hz."""

    FAMILY: ClassVar[str]
    INPUT: ClassVar[Range]
    PFD: ClassVar[Range]
    VCO: ClassVar[Range]
    OUTPUT: ClassVar[Range]

    input_hz: int

    @property
    @abstractmethod
    def pfd(self) -> Fraction:
        """What the phase detector compares."""

    @property
    @abstractmethod
    def hertz(self) -> Fraction:
        """The output."""

    @property
    @abstractmethod
    def vco(self) -> Fraction:
        """The oscillator."""

    @classmethod
    @abstractmethod
    def candidates(cls, input_hz: int) -> Iterator[Self]:
        """Every output that there is, with the fastest oscillator that it may have; some are out of range."""

    @classmethod
    def references(cls, input_hz: int, most: int) -> list[int]:
        """Divisions of the input, up to ``most``, that the phase detector can take."""
        return [n for n in range(1, most + 1) if Fraction(input_hz, n) in cls.PFD]

    @classmethod
    def solve(cls, input_hz: int, wished_hz: int) -> Self:
        """The setting whose output is the closest that does not exceed the wish, which timing was met for.

        Of those with the same output it is the one with the fastest oscillator, whose divided edges jitter
        least (AMD UG1388, "Using MMCM Settings to Reduce Clock Uncertainty"), then the one with the fastest
        phase detector, which lets the oscillator drift for the shortest time.

        Raises `UsageError` where nothing comes within `TOLERANCE` below the wish, or the input is out of
        range, and `ValueError` for what is no frequency.
        """
        for name, value in (("input_hz", input_hz), ("wished_hz", wished_hz)):
            if not (type(value) is int and value > 0):
                raise ValueError(f"{name} must be a positive integer, not {value!r}")
        task = f"{cls.FAMILY} PLL, {_mhz(input_hz)} to {_mhz(wished_hz)}"
        if input_hz not in cls.INPUT:
            raise UsageError(f"{task}: its input must be {_mhz(cls.INPUT.low)} to {_mhz(cls.INPUT.high)}")
        settings = cls.possible(input_hz)
        below = [setting for setting in settings if setting.hertz <= wished_hz]
        best = max(below, key=lambda setting: (setting.hertz, setting.vco, setting.pfd), default=None)
        if best is not None and best.hertz >= wished_hz * (1 - TOLERANCE):
            return best
        above = min((setting.hertz for setting in settings if setting.hertz > wished_hz), default=None)
        ways = [_mhz(hertz) for hertz in (best and best.hertz, above) if hertz is not None]
        raise UsageError(f"{task}: nothing within 2 % below; nearest: {' or '.join(ways)}")

    @classmethod
    def possible(cls, input_hz: int) -> list[Self]:
        """The `candidates` within their ranges."""
        return [setting for setting in cls.candidates(input_hz) if setting.valid]

    @property
    def valid(self) -> bool:
        """Oscillator and output are within their ranges."""
        return self.vco in self.VCO and self.hertz in self.OUTPUT


def _mhz(hertz: Fraction | int) -> str:
    """Rounded up to a Hz, so that a wish for it finds it."""
    return f"{decimal(ceil(hertz))} MHz"


def decimal(hertz: int) -> str:
    """MHz, without an error and without zeros behind."""
    whole, rest = divmod(hertz, MHZ)
    return f"{whole}.{rest:06}".rstrip("0").rstrip(".")


@dataclass(frozen=True)
class Ecp5Setting(Setting):
    """EHXPLLL with CLKOP fed back: output = input / reference · feedback, oscillator = output · divider.

    Ranges: Lattice FPGA-DS-02012, "sysCLOCK PLL Timing"; dividers and formula: Project Trellis' ecppll.
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


@dataclass(frozen=True)
class Ice40Setting(Setting):
    """SB_PLL40 with SIMPLE feedback: oscillator = input / (DIVR + 1) · (DIVF + 1), output = that / 2^DIVQ.

    Ranges, and DIVF up to 127 where Lattice FPGA-TN-02052 says 63: Project IceStorm's icepll.
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
        """FILTER_RANGE, the loop filter for that phase detector's frequency."""
        return 1 + sum(self.pfd >= limit * MHZ for limit in (17, 26, 44, 66, 101))

    @classmethod
    def candidates(cls, input_hz: int) -> Iterator[Self]:
        for reference in cls.references(input_hz, 16):
            for divf in range(128):
                for divq in range(1, 6 + 1):
                    yield cls(input_hz, reference - 1, divf, divq)


@dataclass(frozen=True)
class GowinSetting(Setting):
    """rPLL of a GW2AR-18 C8/I7: output = input / (IDIV_SEL + 1) · (FBDIV_SEL + 1), oscillator = output ·
    ODIV_SEL.

    Ranges: Gowin DS226, as in Project Apicula, which packs nothing else; formula: Gowin UG286.
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


class _Pll(wiring.Component):
    clock: In(1)
    output: Out(1)
    locked: Out(1)

    def __init__(self, setting: Setting):
        self.setting = setting
        super().__init__()


class Ecp5Pll(_Pll):
    """An EHXPLLL with an `Ecp5Setting`: of the pin's ``clock`` it makes ``output``, steady once ``locked``.

    CLKOP is in phase with the input for a CPHASE of a VCO cycle less than its divider, as Lattice Diamond
    sets it; ecppll's half a period later means the same to a single output that is fed back. Charge pump
    and loop filter are ecppll's.
    """

    def elaborate(self, platform):
        m, setting = Module(), self.setting
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
        )
        return m


class Ice40Pll(_Pll):
    """An SB_PLL40 with an `Ice40Setting`: of the pin's ``clock`` it makes ``output``, steady once ``locked``.

    On a ``pad`` (SB_PLL40_PAD) ``clock`` must be the input of a pin that has a PLL, and go nowhere else. A
    clock from elsewhere needs the other kind (SB_PLL40_CORE), and that pin free of inputs.
    """

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


class GowinPll(_Pll):
    """An rPLL with a `GowinSetting`: of the pin's ``clock`` it makes ``output``, steady once ``locked``."""

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
