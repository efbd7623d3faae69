"""`make flash BOARD=…`: put a bitstream on a board, with openFPGALoader."""

import argparse
import shlex
import subprocess
from pathlib import Path
from typing import Any

from haarlequin.hw.bitstream.flow import SUMMARY, read_summary
from haarlequin.hw.bitstream.tools import tool
from haarlequin.hw.boards import BOARDS, board
from haarlequin.hw.boards.board import Board
from haarlequin.hw.families import FAMILIES
from haarlequin.hw.presets import accelerator
from haarlequin.models.common import cli
from haarlequin.models.common.errors import UsageError, printable
from haarlequin.models.common.files import locked, replacing
from haarlequin.models.common.places import build_folder
from haarlequin.sw.boot_image import boot_image
from haarlequin.sw.resolve import ModelSource


class FlashError(UsageError):
    """The board could not be written; the message is one line and says what to do."""


def commands(target: Board, persist: bool, tables: Path | None) -> list[list[str]]:
    """The commands of openFPGALoader, in order. They write the bitstream into the FPGA, or with ``persist``
    into the flash that it starts from, and the ``tables`` into the flash, too.

    Raises `FlashError` where the board loads from its flash alone, where it does not start from tables in its
    flash, or where it would keep the tables but forget its bitstream.
    """
    if not persist and not target.volatile:
        raise FlashError(f"{target.name} loads from its flash alone: take PERSIST=1")
    if tables and target.tables_at is None:
        raise FlashError(f"{target.name} does not start from tables in its flash: let the host load them")
    if tables and not persist:
        raise FlashError("tables stay where the bitstream does: take PERSIST=1 with them")
    loader = [*tool("openFPGALoader"), *target.programmer]
    found = [[*loader, "--write-flash" if persist else "--write-sram", str(_bitstream(target))]]
    if tables:
        place = ["--offset", f"{target.tables_at:#x}", "--file-type", "raw"]
        # The tables are written first, because the board restarts after the last command.
        found.insert(0, [*loader, "--write-flash", *place, str(tables)])
    return found


def built(target: Board, missed_clock: bool) -> dict[str, Any]:
    """The facts that the `SUMMARY` of a board's bitstream states.

    Raises `FlashError` where the bitstream is missing, cut off or not the one of the summary, where the
    summary has a number that no bitstream has, and, without ``missed_clock``, where it misses its clock.
    """
    bitstream, again = _bitstream(target), f"make bitstream BOARD={target.name}"
    if not (bitstream.exists() and bitstream.stat().st_size):
        raise FlashError(f"{bitstream} is gone or empty; build it again: {again}")
    found = read_summary(bitstream.with_name(SUMMARY), {"met": bool, "baud": int})
    if found is None:
        raise FlashError(f"{bitstream} is not what {SUMMARY} beside it says; build it again: {again}")
    if not found["met"] and not missed_clock:
        missing = 1 - found["fmax_mhz"] / found["clock_mhz"]
        raise FlashError(
            f"{bitstream} misses its clock by {missing:.1%}: it reaches {found['fmax_mhz']} MHz of "
            f"{found['clock_mhz']:g}, and may compute wrongly; ARGS=--missed-clock takes it all the same"
        )
    return found


def write_tables(path: Path, model: str, config: str) -> None:
    """Write the boot image of a model for the accelerator of that name."""
    with replacing(path) as draft:
        draft.write_bytes(boot_image(ModelSource(model).compiled(accelerator(config).digest).placed))


def _bitstream(target: Board) -> Path:
    return build_folder("boards", target.name) / f"top.{FAMILIES[target.family].bitstream}"


def run(command: list[str], target: Board) -> None:
    """Print a command and run it; raises `FlashError` where it fails."""
    print(shlex.join(command), flush=True)
    code = subprocess.run(command, check=False).returncode
    if code == 127:
        packages = "libftdi1-2 libhidapi-hidraw0 libusb-1.0-0"
        raise FlashError(f"openFPGALoader lacks a library; on Debian: apt-get install {packages}")
    if code:
        raise FlashError(
            f"{target.name} was not found, or did not take it (exit code {code}): is it plugged in, and may "
            "you use it? docs/boards.md has the udev rule"
        )


@cli.command(interrupted="what is on the board may be half of it: the same command writes it again")
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="haarlequin flash", description="Put a bitstream on a board, with openFPGALoader."
    )
    parser.add_argument("--board", metavar="BOARD", help=f"one of {', '.join(BOARDS)}")
    parser.add_argument("--persist", action="store_true", help="into the SPI flash: it stays there")
    parser.add_argument(
        "--tables", metavar="MODEL", help="also its tables: the board needs no host to load them"
    )
    parser.add_argument("--missed-clock", action="store_true", help="even where it misses its clock")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, and do nothing")
    arguments = parser.parse_args(argv)
    with cli.one_line_errors(verbose=False):
        if not arguments.board:
            raise UsageError(f"BOARD=… is one of {', '.join(BOARDS)}")
        target = board(arguments.board)
        tables = _bitstream(target).with_name("tables.bin") if arguments.tables else None
        if arguments.dry_run:
            print(*map(shlex.join, commands(target, arguments.persist, tables)), sep="\n")
            return
        if not _bitstream(target).with_name(SUMMARY).exists():
            raise FlashError(f"there is no bitstream yet: make bitstream BOARD={target.name}")
        with locked(_bitstream(target).parent):
            found = built(target, arguments.missed_clock)
            todo = commands(target, arguments.persist, tables)
            made = f"{found['config']} at {found['clock_mhz']:g} MHz, {found['baud']:,} baud"
            print(f"{target.title}: {printable(made)}", flush=True)
            if tables:
                write_tables(tables, arguments.tables, found["config"])
            for command in todo:
                run(command, target)
