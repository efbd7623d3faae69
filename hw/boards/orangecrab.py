"""OrangeCrab r0.2: ECP5 on a Feather. Its USB goes to the FPGA itself, so the UART needs an adapter."""

from amaranth.build import Attrs
from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_25FPlatform
from amaranth_boards.resources import LEDResources, UARTResource

from haarlequin.hw.boards.board import ECP5_25F, Board, spi_resource

_PLAIN = Attrs(IO_TYPE="LVCMOS33")


class OrangeCrab(OrangeCrabR0_2_25FPlatform):
    """The platform, an LED for each colour of its lamp, and the lines.

    They are a UART on the Feather's RX and TX (0 and 1), and an SPI slave.
    """

    resources = (
        *(found for found in OrangeCrabR0_2_25FPlatform.resources if found.name != "rgb_led"),
        *LEDResources(pins="M3 J3 K4", invert=True, attrs=_PLAIN),  # green, blue, red
        UARTResource(0, rx="0", tx="1", conn=("io", 0), attrs=_PLAIN),
        spi_resource(
            sck="sck",
            cs="10",
            copi="copi",
            cipo="cipo",
            conn=("io", 0),
            attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP"),
        ),
    )


BOARDS = (
    Board(
        name="orangecrab-25f",
        title="OrangeCrab r0.2, LFE5U-25F",
        platform=OrangeCrab,
        family="ecp5",
        capacity=ECP5_25F,
        config="8x64-hybrid",
        placer="static",
        model="cifar10-hybrid",
        clock_hz=96_000_000,
        baud=3_000_000,
        programmer=("--board", "orangeCrab"),
        volatile=False,
        spi=("host_spi", 0),
    ),
)
