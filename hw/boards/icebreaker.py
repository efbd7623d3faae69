"""1BitSquared iCEBreaker: iCE40 UP5K with an FT2232H on the UART."""

from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth_boards.icebreaker import ICEBreakerPlatform

from haarlequin.hw.boards.board import Board, spi_resource


class ICEBreaker(ICEBreakerPlatform):
    """The platform with the lamps of the section that can be broken off, and an SPI slave on PMOD 1A.

    The pin of the clock goes to the PLL directly and not through a global buffer.
    """

    resources = (
        Resource("clk12", 0, Pins("35", dir="i"), Clock(12e6), Attrs(IO_STANDARD="SB_LVCMOS")),
        *(found for found in ICEBreakerPlatform.resources if found.name != "clk12"),
        *ICEBreakerPlatform.break_off_pmod,
        # As Digilent's interface type 2 has it.
        spi_resource(
            sck="4",
            cs="1",
            copi="2",
            cipo="3",
            conn=("pmod", 0),
            attrs=Attrs(IO_STANDARD="SB_LVCMOS", PULLUP=1),
        ),
    )


BOARDS = (
    Board(
        name="icebreaker",
        title="iCEBreaker, iCE40 UP5K",
        platform=ICEBreaker,
        family="ice40",
        capacity={"lut4": 5_280, "ff": 5_280, "bram": 30, "dsp": 8},
        config="scalar",
        model="digits",
        clock_hz=18_000_000,
        baud=3_000_000,
        programmer=("--board", "ice40_generic"),
        tables_at=0x2_0000,
        volatile=False,
        spi=("host_spi", 0),
        flash=("spi_flash_1x", 0),
        leds=(("led_g", 0), ("led_g", 1), ("led_r", 0)),
    ),
)
