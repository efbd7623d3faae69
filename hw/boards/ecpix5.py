"""LambdaConcept ECPIX-5: ECP5 with a KSZ9031 for a gigabit, a USB3300, and an FT2232H on the UART."""

from amaranth.build import Attrs
from amaranth_boards.ecpix5 import ECPIX585Platform
from amaranth_boards.resources import LEDResources

from haarlequin.hw.boards.board import ECP5_85F, Board, ethernet_resource, ulpi_resource

_PLAIN = Attrs(IO_TYPE="LVCMOS33")

_REPLACED = ("rgb_led", "eth_rgmii", "ulpi")
"""Resources of amaranth-boards that have other names or no clock there."""


class ECPIX585F(ECPIX585Platform):
    """The platform, a lamp of one colour in each of three places, and both PHYs with their clocks."""

    resources = (
        *(found for found in ECPIX585Platform.resources if found.name not in _REPLACED),
        *LEDResources(pins="R21 T24 K21", invert=True, attrs=_PLAIN),  # green, blue, red
        ethernet_resource(
            rst="C13",
            tx="A12 C9 D8 C8 B8 A8",
            rx="E11 A11 B11 A10 B10 A9",
            attrs=_PLAIN,
            outputs=Attrs(SLEWRATE="FAST"),
        ),
        ulpi_resource(
            data="M26 L25 L26 K25 K26 J23 P25 H25",
            control="H24 F22 F23 H23 E23",
            attrs=Attrs(IO_TYPE="LVCMOS33", SLEWRATE="SLOW"),
        ),
    )


BOARDS = (
    Board(
        name="ecpix5-85f",
        title="ECPIX-5, LFE5UM5G-85F",
        platform=ECPIX585F,
        family="ecp5",
        capacity=ECP5_85F,
        config="16x256",
        model="cifar10-hybrid-large",
        clock_hz=82_758_621,
        baud=3_000_000,
        programmer=("--board", "ecpix5"),
        tables_at=0x20_0000,
        placer="static",
        flash=("spi_flash_1x", 0),
        ethernet=("host_ethernet", 0),
        reset="rst",
    ),
)
