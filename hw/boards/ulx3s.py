"""Radiona ULX3S: ECP5 with an FT231X on the UART."""

from dataclasses import replace

from amaranth.build import Attrs
from amaranth_boards.ulx3s import ULX3S_25F_Platform, ULX3S_85F_Platform

from haarlequin.hw.boards.board import ECP5_25F, ECP5_85F, Board, fifo_resource, spi_resource

_SPI = spi_resource(
    sck="0+", cs="1-", copi="0-", cipo="1+", conn=("gpio", 0), attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP")
)

_FIFO = fifo_resource(
    clkout="12+",
    data="2+ 3+ 4+ 5+ 6+ 7+ 8+ 9+",
    control="2- 3- 4- 5- 6- 7-",
    conn=("gpio", 0),
    attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP"),
    outputs=Attrs(SLEWRATE="FAST"),
)


class ULX3S25F(ULX3S_25F_Platform):
    """The platform, an SPI slave on GP0, GN0, GP1 and GN1, and pins for an FT232H's FIFO below them."""

    resources = (*ULX3S_25F_Platform.resources, _SPI, _FIFO)


class ULX3S85F(ULX3S_85F_Platform):
    """The same with the large part."""

    resources = (*ULX3S_85F_Platform.resources, _SPI, _FIFO)


_LARGE = Board(
    name="ulx3s-85f",
    title="ULX3S, LFE5U-85F",
    platform=ULX3S85F,
    family="ecp5",
    capacity=ECP5_85F,
    config="16x256",
    model="cifar10-hybrid-large",
    clock_hz=60_000_000,
    baud=3_000_000,
    programmer=("--board", "ulx3s"),
    tables_at=0x20_0000,
    placer="static",
    spi=("host_spi", 0),
    reset="button_fire",
)
BOARDS = (
    _LARGE,
    replace(
        _LARGE,
        name="ulx3s-25f",
        title="ULX3S, LFE5U-25F",
        platform=ULX3S25F,
        capacity=ECP5_25F,
        config="8x64-hybrid",
        model="cifar10-hybrid",
        clock_hz=75_000_000,
        usb_clock_hz=60_000_000,
    ),
)
