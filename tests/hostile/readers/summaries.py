"""Summaries of bitstreams that were built, `summary.json`, as `make flash` and `make bitstream` read them."""

import io
from contextlib import redirect_stderr
from pathlib import Path
from unittest.mock import patch

from haarlequin.hw.bitstream.flow import SUMMARY
from haarlequin.hw.boards import board
from haarlequin.hw.families.family import RESOURCES
from haarlequin.models.common import stamps
from haarlequin.models.common.errors import UsageError
from haarlequin.sw import bitstream, flash
from tests.hostile.engine import Reader, Wrong
from tests.hostile.mutate import damaged_json

_BOARD = board("icebreaker")


def _corpus(folder: Path) -> list[bytes]:
    place = folder / "boards" / _BOARD.name
    place.mkdir(parents=True)
    (place / "top.bin").write_bytes(b"a bitstream")
    facts = {
        "part": "iCE40 UP5K",
        "config": "scalar",
        "fmax_mhz": 19.1,
        "clock_mhz": 18.0,
        "met": True,
        "baud": 9600,
    }
    facts |= dict.fromkeys(RESOURCES, 5) | {"available": dict.fromkeys(RESOURCES, 9)}
    stamps.write(place / SUMMARY, stamps.digest(), [place / "top.bin"], **facts)
    return [(place / SUMMARY).read_bytes()]


def _read(data: bytes, folder: Path) -> None:
    """Both commands read it; neither says anything of a bitstream that is not the one it was written for."""
    place = folder / "boards" / _BOARD.name
    place.mkdir(parents=True, exist_ok=True)
    (place / "top.bin").write_bytes(b"a bitstream")
    (place / SUMMARY).write_bytes(data)
    with patch.dict("os.environ", {"HAARLEQUIN_BUILD": str(folder)}), redirect_stderr(io.StringIO()):
        table = bitstream.built()
        found = flash.built(_BOARD, missed_clock=False)
        said = f"{found['config']} at {found['clock_mhz']:g} MHz, {found['baud']:,} baud"
    if not (said and found["met"]) or len(table.splitlines()) != 3:
        raise Wrong(f"{said}: {table}")


READER = Reader("summaries", (UsageError,), _corpus, _read, damaged_json, seconds=1, megabytes=512)
