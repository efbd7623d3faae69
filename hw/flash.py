"""`make flash BOARD=…`: put a bitstream on a board, with openFPGALoader."""

import argparse
import json
import shlex
import subprocess
from pathlib import Path

from models.cli import one_line_errors
from models.errors import UsageError
from models.files import replacing
from sw.boot import boot_image
from sw.choose import Source

from .bitstream import BUILD
from .bitstream.families import FAMILIES
from .bitstream.tools import tool
from .boards import BOARDS, board
from .boards.board import Board
from .config import accelerator


class FlashError(UsageError):
    """The board did not take what it was given; the message is one line and says what to do."""


def commands(target: Board, persist: bool, tables: Path | None) -> list[list[str]]:
    """openFPGALoader's, as they are run: the bitstream into the FPGA, or with ``persist`` into the flash it
    starts from; ``tables`` into the flash too.

    Raises `FlashError` where the board has no way into the FPGA but through its flash, does not start from
    tables there, or would forget its bitstream.
    """
    if not persist and not target.volatile:
        raise FlashError(f"{target.name} loads from its flash alone: take PERSIST=1")
    if tables and target.tables_at is None:
        raise FlashError(f"{target.name} does not start from tables in its flash: let the host load them")
    if tables and not persist:
        raise FlashError("tables stay where the bitstream does: take PERSIST=1 with them")
    loader = [tool("openFPGALoader"), *target.programmer]
    bitstream = str(BUILD / target.name / f"top.{FAMILIES[target.family].bitstream}")
    found = [[*loader, "--write-flash" if persist else "--write-sram", bitstream]]
    if tables:
        place = ["--offset", f"{target.tables_at:#x}", "--file-type", "raw"]
        # First of all: the board starts anew behind the last.
        found.insert(0, [*loader, "--write-flash", *place, str(tables)])
    return found


def write_tables(target: Board, model: str) -> Path:
    """The boot image of a model for the accelerator that was built last for the board."""
    folder = BUILD / target.name
    config = json.loads((folder / "summary.json").read_text())["config"]
    with replacing(folder / "tables.bin") as draft:
        draft.write_bytes(boot_image(Source(model).compiled(accelerator(config).digest).tables))
    return folder / "tables.bin"


def run(command: list[str], target: Board) -> None:
    """Show it and run it; raises `FlashError` where it fails."""
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


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make flash", description=__doc__.splitlines()[0])
    parser.add_argument("--board", metavar="BOARD", help=f"one of {', '.join(BOARDS)}")
    parser.add_argument("--persist", action="store_true", help="into the SPI flash: it stays there")
    parser.add_argument(
        "--tables", metavar="MODEL", help="also its tables: the board needs no host to load them"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the commands, and do nothing")
    arguments = parser.parse_args(argv)
    with one_line_errors(verbose=False):
        if not arguments.board:
            raise UsageError(f"BOARD=… is one of {', '.join(BOARDS)}")
        target = board(arguments.board)
        if not (BUILD / target.name / "summary.json").exists() and not arguments.dry_run:
            raise FlashError(f"there is no bitstream yet: make bitstream BOARD={target.name}")
        tables = BUILD / target.name / "tables.bin" if arguments.tables else None
        todo = commands(target, arguments.persist, tables)
        if arguments.dry_run:
            print(*map(shlex.join, todo), sep="\n")
            return
        if arguments.tables:
            write_tables(target, arguments.tables)
        for command in todo:
            run(command, target)


if __name__ == "__main__":
    main()
