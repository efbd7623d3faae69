"""Summaries of boards, as `make bitstream` writes them, without the hours that it takes."""

from pathlib import Path

from haarlequin.hw.bitstream.flow import SUMMARY
from haarlequin.hw.boards import board
from haarlequin.hw.families import FAMILIES
from haarlequin.models.common import stamps


def write(build: Path, name: str, **changed) -> None:
    """The folder of a board that was built, within the build folder ``build``. What is ``changed`` is not as
    the board itself has it: 10,000 LUT4, a hundredth of its clock faster than it has to be.
    """
    target = board(name)
    folder = build / "boards" / name
    folder.mkdir(parents=True, exist_ok=True)
    bitstream = folder / f"top.{FAMILIES[target.family].bitstream}"
    bitstream.write_bytes(b"bits")
    clock = target.clock_hz / 1e6
    found = {"board": name, "part": target.title, "config": target.config, "available": target.capacity}
    found |= {"lut4": 10_000, "ff": 6000, "bram": 20, "dsp": 4, "met": True, "baud": target.baud}
    found |= {"clock_mhz": clock, "fmax_mhz": 1.01 * clock} | changed
    stamps.write(folder / SUMMARY, stamps.digest(), [bitstream], **found)
