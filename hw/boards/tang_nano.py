"""Sipeed Tang Nano 20K: Gowin GW2AR-18 with a BL616 on the UART."""

from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth.vendor import GowinPlatform
from amaranth_boards.resources import ButtonResources, LEDResources, UARTResource

from haarlequin.hw.boards.board import Board

_PLAIN = Attrs(IO_TYPE="LVCMOS33")


class TangNano20K(GowinPlatform):
    """The pins that the accelerator uses."""

    part = "GW2AR-LV18QN88C8/I7"
    family = "GW2AR-18C"
    die = "GW2A-18C"
    """The name that nextpnr and Apicula use: the part without the RAM in its package."""
    default_clk = "clk27"
    resources = (
        Resource("clk27", 0, Pins("4", dir="i"), Clock(27e6), _PLAIN),
        UARTResource(0, rx="70", tx="69", attrs=_PLAIN),
        *LEDResources(pins="15 16 17 18 19 20", invert=True, attrs=_PLAIN),
        *ButtonResources(pins="88 87", attrs=_PLAIN),
    )
    connectors = ()

    def __init__(self):
        super().__init__(toolchain="Apicula")


BOARDS = (
    Board(
        name="tang-nano-20k",
        title="Tang Nano 20K, GW2AR-18",
        platform=TangNano20K,
        family="gowin",
        capacity={"lut4": 20_736, "ff": 15_552, "bram": 46, "dsp": 48},
        config="scalar-43k",
        model="digits",
        clock_hz=54_000_000,
        baud=2_000_000,
        programmer=("--board", "tangnano20k"),
    ),
)
