"""PLLs of all families: from a board's clock to the one that timing was met for."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import ClassVar, Self

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
        """The frequency that the phase detector compares."""

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
    """MHz, without an error and without zeros at the end."""
    whole, rest = divmod(hertz, MHZ)
    return f"{whole}.{rest:06}".rstrip("0").rstrip(".")


class Pll(wiring.Component):
    """A PLL with a `Setting`: of ``clock`` it makes ``output``, steady once ``locked``."""

    clock: In(1)
    output: Out(1)
    locked: Out(1)

    def __init__(self, setting: Setting):
        self.setting = setting
        super().__init__()
