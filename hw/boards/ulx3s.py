"""Radiona ULX3S: ECP5 with an FT231X on the UART."""

from amaranth_boards.ulx3s import ULX3S_25F_Platform, ULX3S_85F_Platform

from .board import Board

_ULX3S = {"family": "ecp5", "clock_hz": 60_000_000, "baud": 3_000_000, "programmer": ("--board", "ulx3s")}
_ULX3S |= {"reset": "button_fire", "tables_at": 0x20_0000}

BOARDS = (
    Board(
        "ulx3s-85f", "ULX3S, LFE5U-85F", ULX3S_85F_Platform, config="32x128", model="cifar10-tiny", **_ULX3S
    ),
    Board("ulx3s-25f", "ULX3S, LFE5U-25F", ULX3S_25F_Platform, config="2x64", model="cifar10-nano", **_ULX3S),
)
