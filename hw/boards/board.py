"""`Board`: the facts about a board that the flow needs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from amaranth.build import Attrs, Clock, Pins, PinsN, Platform, Resource, Subsignal

from haarlequin.hw.link.ethernet.address import Address
from haarlequin.hw.link.ethernet.rgmii import ETHERNET_HZ
from haarlequin.hw.link.fifo import FIFO_HZ
from haarlequin.hw.link.ulpi import ULPI_HZ
from haarlequin.models.common.errors import UsageError

BAUD_TOLERANCE = 0.02
"""How much the rate of a UART may differ from the wished one.

The two ends of a line sample by their own clocks, and may differ by half a bit in the ten bits of a byte. The
other end needs its share of that.
"""

MOST_SERIAL = 64
"""Characters of a serial number. USB has room for 126."""

PLACERS = ("heap", "static")
"""The placers of nextpnr that a board can ask for."""

ECP5_25F = {"lut4": 24_288, "ff": 24_288, "bram": 56, "dsp": 28}
ECP5_85F = {"lut4": 83_640, "ff": 83_640, "bram": 208, "dsp": 156}


SPI_HZ = 50e6
"""The SPI clock for which boards are routed."""


def spi_resource(sck: str, cs: str, copi: str, cipo: str, conn: tuple[str, int], attrs: Attrs) -> Resource:
    """The pins of a connector that are a board's SPI slave, as the resource `host_spi` 0.

    ``attrs`` are those of a pin that has a pull-up: nothing is received where no master is connected.
    """
    return Resource(
        "host_spi",
        0,
        Subsignal("sck", Pins(sck, dir="i", conn=conn), Clock(SPI_HZ)),
        Subsignal("cs", PinsN(cs, dir="i", conn=conn)),
        Subsignal("copi", Pins(copi, dir="i", conn=conn)),
        Subsignal("cipo", Pins(cipo, dir="o", conn=conn)),
        attrs,
    )


def fifo_resource(
    clkout: str, data: str, control: str, conn: tuple[str, int], attrs: Attrs, outputs: Attrs
) -> Resource:
    """The pins of a connector that go to an FT232H in its synchronous FIFO mode, as `host_fifo` 0.

    ``data`` are D0 to D7, and ``control`` RXF#, TXE#, OE#, RD#, WR# and SIWU#, in this order. ``attrs`` are
    those of a pin that has a pull-up, for nothing happens where no chip is connected; ``outputs`` are added
    for pins that are driven.
    """
    rxf, txe, oe, rd, wr, siwu = control.split()
    return Resource(
        "host_fifo",
        0,
        Subsignal("clkout", Pins(clkout, dir="i", conn=conn), Clock(FIFO_HZ)),
        Subsignal("data", Pins(data, dir="io", conn=conn), outputs),
        # Their levels stay as they are at the pins: a register at a pin has no inverter after it.
        Subsignal("rxf_n", Pins(rxf, dir="i", conn=conn)),
        Subsignal("txe_n", Pins(txe, dir="i", conn=conn)),
        Subsignal("oe_n", Pins(oe, dir="o", conn=conn), outputs),
        Subsignal("rd_n", Pins(rd, dir="o", conn=conn), outputs),
        Subsignal("wr_n", Pins(wr, dir="o", conn=conn), outputs),
        Subsignal("siwu_n", Pins(siwu, dir="o", conn=conn), outputs),
        attrs,
    )


ULPI = "host_ulpi"
"""The name of the resource of a PHY with ULPI."""


def ulpi_resource(data: str, control: str, attrs: Attrs) -> Resource:
    """The pins of a USB PHY with ULPI that gives the clock, as the resource `ULPI` 0.

    ``data`` are its eight wires, and ``control`` CLKOUT, DIR, NXT, STP and RESET, in this order; the last
    one is high while the PHY is to be reset.
    """
    clk, direction, nxt, stp, rst = control.split()
    return Resource(
        ULPI,
        0,
        Subsignal("data", Pins(data, dir="io")),
        Subsignal("clk", Pins(clk, dir="i"), Clock(ULPI_HZ)),
        Subsignal("dir", Pins(direction, dir="i")),
        Subsignal("nxt", Pins(nxt, dir="i")),
        Subsignal("stp", Pins(stp, dir="o")),
        Subsignal("rst", Pins(rst, dir="o")),
        attrs,
    )


def ethernet_resource(rst: str, tx: str, rx: str, attrs: Attrs, outputs: Attrs) -> Resource:
    """The pins of a gigabit PHY with RGMII, as the resource `host_ethernet` 0.

    ``tx`` and ``rx`` are the clock, the control wire and the four of the data in each direction, and ``rst``
    is low while the PHY is to be reset. ``outputs`` are attributes for pins that are driven fast.
    """
    pins = {}
    for name, direction in (("tx", "o"), ("rx", "i")):
        clock, control, *data = (tx if name == "tx" else rx).split()
        more = [outputs] if name == "tx" else []
        rate = [Clock(ETHERNET_HZ)] if name == "rx" else []
        pins[f"{name}_clk"] = Subsignal(f"{name}_clk", Pins(clock, dir=direction), *rate, *more)
        pins[f"{name}_ctrl"] = Subsignal(f"{name}_ctrl", Pins(control, dir=direction), *more)
        pins[f"{name}_data"] = Subsignal(f"{name}_data", Pins(" ".join(data), dir=direction), *more)
    return Resource("host_ethernet", 0, Subsignal("rst", PinsN(rst, dir="o")), *pins.values(), attrs)


class BoardError(UsageError, ValueError):
    """A request that a board cannot fulfil. The message says which ones it can."""


@dataclass(frozen=True)
class Board:
    """A board, and the accelerator that goes onto it."""

    name: str
    title: str
    """The name for people, with the FPGA."""
    platform: type[Platform]
    family: str
    """The name of its family in `hw.families`, which decides the tools and the PLL."""
    config: str
    """The name of the accelerator's configuration, one of `hw.config`."""
    model: str
    """The most accurate model of the zoo that fits the accelerator."""
    capacity: Mapping[str, int]
    """How many of each of `hw.families.family.RESOURCES` the FPGA has."""
    clock_hz: int
    """The clock of the accelerator, which the PLL makes."""
    baud: int
    """The highest rate of its UART."""
    programmer: tuple[str, ...]
    """The options of openFPGALoader that name the board."""
    tables_at: int | None = None
    """The address in the SPI flash, after the bitstream, from which the board loads tables when it starts. It
    is None if the board cannot do that."""
    volatile: bool = True
    """Whether the programmer can load the FPGA itself, and not only its flash."""
    placer: str = "heap"
    """The placer, one of `PLACERS`. The static one takes longer, and finds shorter wires in large parts."""
    flash: tuple[str, int] = ("spi_flash", 0)
    """The resource of the SPI flash."""
    spi: tuple[str, int] | None = None
    """The resource of its SPI slave, made by `spi_resource`; None if the board has none."""
    usb_clock_hz: int | None = None
    """The clock of the accelerator with USB, where the PLL cannot make the other one beside USB's."""
    serial: str = ""
    """The serial number of its USB device, by which hosts tell boards of one kind apart; "" is its name."""
    usb: tuple[str, int] | None = None
    """The resource of a USB plug of the FPGA's own that gets a device; None leaves it alone (`with_usb`)."""
    fifo: tuple[str, int] | None = None
    """The resource of the pins to an FT232H that get a FIFO; None leaves them alone (`with_fifo`)."""
    ethernet: tuple[str, int] | None = None
    """The resource of its PHY, made by `ethernet_resource`; None if the board has none."""
    address: Address = field(default_factory=Address)
    """The address that it has on a network, if it has a PHY."""
    reset: str = "button"
    """The resource of the button that resets the accelerator."""
    leds: tuple[tuple[str, int], ...] = (("led", 0), ("led", 1), ("led", 2))
    """The resources of the lamps for ready, busy and error."""

    @property
    def usb_plug(self) -> tuple[str, int] | None:
        """The resource of a USB plug that goes to the FPGA, or to a PHY with ULPI; None without one."""
        names = {found.name for found in self.platform.resources}
        return next(((name, 0) for name in ("usb", ULPI) if name in names), None)

    @property
    def has_high_speed(self) -> bool:
        """Whether its USB plug has a PHY, and so high speed."""
        return self.usb_plug == (ULPI, 0)

    def with_usb(self) -> Self:
        """The board with a USB device at that plug, as one more line; `BoardError` where it has no plug."""
        if not self.usb_plug:
            raise BoardError(f"{self.name} has no USB plug that goes to its FPGA")
        return replace(self, usb=self.usb_plug, clock_hz=self.usb_clock_hz or self.clock_hz)

    def with_serial(self, serial: str) -> Self:
        """The board whose USB device has that serial number; `BoardError` where it has no USB device, or the
        number is not one to `MOST_SERIAL` letters, digits, dots, dashes and underscores.
        """
        if not self.usb:
            raise BoardError("a serial number is for a board with a USB device: add --usb")
        if not re.fullmatch(rf"[A-Za-z0-9._-]{{1,{MOST_SERIAL}}}", serial):
            what = f"1 to {MOST_SERIAL} letters, digits, dots, dashes and underscores"
            raise BoardError(f"{serial[:MOST_SERIAL]!r} is not a serial number: take {what}")
        return replace(self, serial=serial)

    @property
    def has_fifo(self) -> bool:
        """Whether the board has pins for an FT232H in its synchronous FIFO mode (`fifo_resource`)."""
        return "host_fifo" in {found.name for found in self.platform.resources}

    def with_fifo(self) -> Self:
        """The board with a FIFO at those pins, as one more line; `BoardError` where it has no such pins."""
        if not self.has_fifo:
            raise BoardError(f"{self.name} has no pins for an FT232H's FIFO")
        return replace(self, fifo=("host_fifo", 0))

    def with_address(self, ip: str) -> Self:
        """The board with that IPv4 address; `BoardError` where it has no Ethernet."""
        if self.ethernet is None:
            raise BoardError(f"{self.name} has no Ethernet, and so no address")
        return replace(self, address=Address(ip))

    @property
    def input_hz(self) -> int:
        """The frequency of the clock on the board."""
        return int(self.platform().default_clk_frequency)

    def divisor(self, clock_hz: int | None = None, baud: int | None = None) -> int:
        """Clock cycles per bit of the UART, by default at the board's own clock and rate.

        Raises `BoardError` if the rate would be off by more than `BAUD_TOLERANCE`.
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
