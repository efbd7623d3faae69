"""`Board`: what is to know of a board, in a small table."""

from collections.abc import Mapping
from dataclasses import dataclass

from amaranth.build import Platform

from haarlequin.models.common.errors import UsageError

BAUD_TOLERANCE = 0.02
"""Both ends of a UART sample by their own clock, and may drift apart by half a bit in the ten of a byte; the
other end needs its share of that."""

PLACERS = ("heap", "static")

ECP5_25F = {"lut4": 24_288, "ff": 24_288, "bram": 56, "dsp": 28}
ECP5_85F = {"lut4": 83_640, "ff": 83_640, "bram": 208, "dsp": 156}


class BoardError(UsageError, ValueError):
    """Something that a board has not, or cannot; the message says what it can."""


@dataclass(frozen=True)
class Board:
    """A board and the accelerator that goes on it."""

    name: str
    title: str
    """What people call it, with its part."""
    platform: type[Platform]
    family: str
    """Of `hw.families`: whose tools make the bitstream, whose PLL makes the clock."""
    config: str
    """The accelerator, one of `hw.config`."""
    model: str
    """The largest of the zoo that fits it."""
    capacity: Mapping[str, int]
    """What the part has, by `hw.families.family.RESOURCES`."""
    clock_hz: int
    """Of the accelerator, made by the PLL."""
    baud: int
    """The best rate of its UART."""
    programmer: tuple[str, ...]
    """Options of openFPGALoader that name it."""
    tables_at: int | None = None
    """Address in the SPI flash at which tables may lie, behind the bitstream, where the board can start from
    them."""
    volatile: bool = True
    """The programmer reaches the FPGA itself, not only its flash."""
    placer: str = "heap"
    """Of nextpnr, one of `PLACERS`: static takes longer, and finds shorter wires in large parts."""
    flash: tuple[str, int] = ("spi_flash", 0)
    """Resource of the SPI flash."""
    reset: str = "button"
    """Resource of the button that resets the accelerator."""
    leds: tuple[tuple[str, int], ...] = (("led", 0), ("led", 1), ("led", 2))
    """Resources of the lamps for ready, busy and error."""

    @property
    def input_hz(self) -> int:
        """Of the clock on the board."""
        return int(self.platform().default_clk_frequency)

    def divisor(self, clock_hz: int | None = None, baud: int | None = None) -> int:
        """Clock cycles a bit of the UART; raises `BoardError` where the rate is off by more than
        `BAUD_TOLERANCE`.
        """
        clock_hz, baud = clock_hz or self.clock_hz, baud or self.baud
        divisor = max(4, round(clock_hz / baud))
        error = clock_hz / divisor / baud - 1
        if abs(error) > BAUD_TOLERANCE:
            nearest = clock_hz // max(4, -(-clock_hz // baud))
            raise BoardError(
                f"a clock of {clock_hz / 1e6:g} MHz makes {clock_hz / divisor:,.0f} baud of {baud:,}, "
                f"{error:+.1%}, more than {BAUD_TOLERANCE:.0%} off: take a rate of {nearest:,}"
            )
        return divisor
