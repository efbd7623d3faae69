"""The common part of the PLLs of all families: it finds the dividers that make a wished clock."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, gcd
from typing import ClassVar, Self

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from haarlequin.models.common.errors import UsageError

MHZ = 10**6
TOLERANCE = Fraction(2, 100)
"""How far below the wished frequency an output may be, as a fraction of it."""


@dataclass(frozen=True)
class Range:
    """A range of frequencies in Hz, with both ends included."""

    low: Fraction
    high: Fraction

    @classmethod
    def mhz(cls, low: str, high: str) -> "Range":
        """A range whose ends are written as decimals in MHz."""
        return cls(Fraction(low) * MHZ, Fraction(high) * MHZ)

    def __contains__(self, hertz: Fraction | int) -> bool:
        return self.low <= hertz <= self.high


@dataclass(frozen=True)
class Setting(ABC):
    """The dividers of a PLL with an input clock of ``input_hz``. All frequencies are exact and in Hz."""

    FAMILY: ClassVar[str]
    INPUT: ClassVar[Range]
    PFD: ClassVar[Range]
    VCO: ClassVar[Range]
    OUTPUT: ClassVar[Range]

    input_hz: int
    also: tuple[int, ...] = field(default=(), kw_only=True)
    """Frequencies of further outputs, whose edges are aligned with those of the first one."""

    @property
    @abstractmethod
    def pfd(self) -> Fraction:
        """The frequency that the phase detector compares."""

    @property
    @abstractmethod
    def hertz(self) -> Fraction:
        """The frequency of the output."""

    @property
    @abstractmethod
    def vco(self) -> Fraction:
        """The frequency of the oscillator."""

    @property
    def ratio(self) -> int:
        """How many cycles the slowest clock whose edges include those of all outputs has for one of the first
        output; twice as many where that clock would be one of the outputs itself.
        """
        if not self.also:
            return 1
        outputs = [self.hertz, *map(Fraction, self.also)]
        periods = [self.vco / hertz for hertz in outputs]
        common = gcd(*map(int, periods))
        return int(periods[0]) // common * (2 if common in periods else 1)

    @classmethod
    @abstractmethod
    def candidates(cls, input_hz: int) -> Iterator[Self]:
        """A setting for every possible output, with the fastest oscillator for it. Some are out of range."""

    @classmethod
    def references(cls, input_hz: int, most: int) -> list[int]:
        """The dividers of the input, up to ``most``, whose result the phase detector accepts."""
        return [n for n in range(1, most + 1) if Fraction(input_hz, n) in cls.PFD]

    def with_others(self, also: tuple[int, ...]) -> Iterator[Self]:
        """Settings with the same output that make those of ``also``, too, the fastest oscillator first. Here
        there is none; families whose PLLs have further outputs override this.
        """
        if not also:
            yield self

    @classmethod
    def solve(cls, input_hz: int, wished_hz: int, also: tuple[int, ...] = ()) -> Self:
        """The setting whose output is closest to ``wished_hz`` without exceeding it, and makes all of
        ``also`` exactly.

        The output must not be higher, because timing was met for the wished clock. Of the settings with the
        same output, it is the one with the fastest oscillator, whose divided edges have the least jitter (AMD
        UG1388, "Using MMCM Settings to Reduce Clock Uncertainty"). Of these, it is the one with the fastest
        phase detector, which lets the oscillator drift for the shortest time.

        Raises `UsageError` if no output is within `TOLERANCE` below the wish, or if the input is out of
        range, and `ValueError` if a frequency is not a positive integer.
        """
        for name, value in (("input_hz", input_hz), ("wished_hz", wished_hz)):
            if not (type(value) is int and value > 0):
                raise ValueError(f"{name} must be a positive integer, not {value!r}")
        task = (
            f"{cls.FAMILY} PLL, {' and '.join([f'{_mhz(input_hz)} to {_mhz(wished_hz)}', *map(_mhz, also)])}"
        )
        if input_hz not in cls.INPUT:
            raise UsageError(f"{task}: its input must be {_mhz(cls.INPUT.low)} to {_mhz(cls.INPUT.high)}")
        settings = cls.possible(input_hz, also)
        below = [setting for setting in settings if setting.hertz <= wished_hz]
        best = max(below, key=lambda setting: (setting.hertz, setting.vco, setting.pfd), default=None)
        if best is not None and best.hertz >= wished_hz * (1 - TOLERANCE):
            return best
        above = sorted(setting.hertz for setting in settings if setting.hertz > wished_hz)[:1]
        ways = [_mhz(hertz) for hertz in ([] if best is None else [best.hertz]) + above]
        raise UsageError(f"{task}: nothing within 2 % below; nearest: {' or '.join(ways)}")

    @classmethod
    def possible(cls, input_hz: int, also: tuple[int, ...] = ()) -> list[Self]:
        """The `candidates` that are within the ranges and make ``also``."""
        settings = (each for setting in cls.candidates(input_hz) for each in setting.with_others(also))
        return [setting for setting in settings if setting.valid]

    @property
    def valid(self) -> bool:
        """Whether oscillator and output are within their ranges."""
        return self.vco in self.VCO and self.hertz in self.OUTPUT


def _mhz(hertz: Fraction | int) -> str:
    """The frequency as text, rounded up to 1 Hz so that a wish for it finds it."""
    return f"{decimal(ceil(hertz))} MHz"


def decimal(hertz: int) -> str:
    """The exact number of MHz as text, without zeros at the end."""
    whole, rest = divmod(hertz, MHZ)
    return f"{whole}.{rest:06}".rstrip("0").rstrip(".")


class Pll(wiring.Component):
    """A PLL, which makes clocks from another. Each family has a subclass with its own primitive.

    Parameters
    ----------
    setting : Setting
        The dividers.

    Members
    -------
    clock : In(1)
        The clock from the pin.
    output : Out(1)
        The clock of ``setting.hertz``. It is steady while ``locked`` is high.
    others : Out(n)
        The clocks of ``setting.also``.
    locked : Out(1)
        The PLL has locked.
    """

    def __init__(self, setting: Setting):
        self.setting = setting
        others = {"others": Out(len(setting.also))}
        super().__init__({"clock": In(1), "output": Out(1), "locked": Out(1), **others})
