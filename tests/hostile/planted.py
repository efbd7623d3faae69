"""Readers with faults, to see that a hunt reports them. Each reads a length and then so many bytes."""

import os
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

from tests.hostile.engine import Reader, Wrong


class Refused(Exception):
    """The refusal of all these readers."""


def _body(data: bytes) -> bytes:
    """The bytes after the length, as a reader without faults has them."""
    if len(data) < 2 or len(data) != 2 + int.from_bytes(data[:2]):
        raise Refused("not as long as it says")
    return data[2:]


def _reader(fault: Callable[[bytes, Path], object]) -> Reader:
    return Reader(
        fault.__name__.strip("_"),
        (Refused,),
        lambda folder: [b"\0\4abcd", b"\0\0"],
        lambda data, folder: (fault(data, folder), _body(data))[1] and None,
        mend=lambda data: len(data[2:]).to_bytes(2) + data[2:] if len(data) < 1 << 16 else data,
        seconds=0.2,
        megabytes=200,
    )


_kept: list[bytearray] = []


def _none(data: bytes, folder: Path) -> None:
    (folder / "file").write_bytes(data)


def _unchecked(data: bytes, folder: Path) -> None:
    struct.unpack(">H", data[:2])


def _hangs(data: bytes, folder: Path) -> None:
    while len(data) == 3:
        pass


def _slow(data: bytes, folder: Path) -> None:
    if len(data) == 3:
        sum(range(15_000_000))


def _dies(data: bytes, folder: Path) -> None:
    if len(data) == 3:
        os.abort()


def _outside(data: bytes, folder: Path) -> None:
    if len(data) == 3:
        (folder.parent.parent / "outside").write_bytes(data)


def _here(data: bytes, folder: Path) -> None:
    """Written by a library in C, which Python's audit hook does not hear of."""
    if len(data) == 3:
        connection = sqlite3.connect("here.db")
        connection.execute("CREATE TABLE IF NOT EXISTS numbers (number)")
        connection.close()


def _starts(data: bytes, folder: Path) -> None:
    if len(data) == 3:
        os.system("true")


def _grows(data: bytes, folder: Path) -> None:
    _kept.append(bytearray(os.urandom(1 << 20)))


def _allocates(data: bytes, folder: Path) -> None:
    if len(data) == 3:
        bytearray(1 << 30)


def _swallows(data: bytes, folder: Path) -> None:
    """A MemoryError as a refusal: the memory was asked for all the same."""
    try:
        _allocates(data, folder)
    except MemoryError:
        raise Refused("damaged") from None


def _lines(data: bytes, folder: Path) -> None:
    if len(data) == 3:
        raise Refused("damaged:\nsee above")


def _talks(data: bytes, folder: Path) -> None:
    if len(data) == 3:
        raise Refused("damaged " * 1000)


def _accepts(data: bytes, folder: Path) -> None:
    if len(data) == 3:
        raise Wrong("another meaning")


NONE = _reader(_none)
UNCHECKED = _reader(_unchecked)
HANGS = _reader(_hangs)
SLOW = _reader(_slow)
DIES = _reader(_dies)
OUTSIDE = _reader(_outside)
HERE = _reader(_here)
STARTS = _reader(_starts)
GROWS = _reader(_grows)
ALLOCATES = _reader(_allocates)
SWALLOWS = _reader(_swallows)
LINES = _reader(_lines)
TALKS = _reader(_talks)
ACCEPTS = _reader(_accepts)
