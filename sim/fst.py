"""Waveforms: signals with their changes become an FST file, which GTKWave and Surfer read."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pylibfst import ffi, lib

TOP = "haarlequin"
"""The scope around all signals."""


@dataclass
class Signal:
    """A signal and its changes.

    Members:
        scope: the scope within `TOP` that it is in.
        name: its name there.
        width: its bits; 0 is for text.
        signed: whether its bits are a number in two's complement.
        changes: the value from each cycle on, in any order: UTF-8 for text, otherwise one ``0``, ``1`` or
            ``x`` per bit, the highest bit first.
    """

    scope: str
    name: str
    width: int = 0
    signed: bool = False
    changes: dict[int, bytes] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Its name with all scopes, without the range of its bits."""
        return f"{TOP}.{self.scope}.{self.name}"

    @property
    def range(self) -> str:
        """The range of its bits, as a viewer writes it after the name; empty for text and single bits."""
        return f"[{self.width - 1}:0]" if self.width > 1 else ""


def write(path: Path, signals: Sequence[Signal], cycles: int) -> None:
    """Write an FST file, whole or not at all. Signals of one scope must follow each other.

    A unit of time is one cycle. It is called 1 ns, because the format knows no 20 ns, which a cycle takes at
    50 MHz. Times are from 0 to ``cycles``, and each signal must have a value at 0. Changes to the same value
    are left out.

    Raises `OSError` where the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The library keeps a second file beside its own while it writes.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as scratch:
        draft = Path(scratch, path.name)
        context = lib.fstWriterCreate(os.fsencode(draft), 1)
        if context == ffi.NULL:
            raise OSError(f"{path} cannot be written")
        try:
            _write(context, signals, cycles)
        finally:
            lib.fstWriterClose(context)
        _check(draft, path, len(signals), cycles)
        draft.replace(path)


def _write(context: object, signals: Sequence[Signal], cycles: int) -> None:
    lib.fstWriterSetPackType(context, lib.FST_WR_PT_LZ4)
    lib.fstWriterSetTimescale(context, -9)
    lib.fstWriterSetVersion(context, b"haarlequin wave")
    _scope(context, TOP)
    handles, scope = [], None
    for signal in signals:
        if signal.scope != scope:
            if scope is not None:
                lib.fstWriterSetUpscope(context)
            _scope(context, signal.scope)
            scope = signal.scope
        kind = lib.FST_VT_VCD_INTEGER if signal.signed else lib.FST_VT_VCD_WIRE
        if not signal.width:
            kind = lib.FST_VT_GEN_STRING
        name = f"{signal.name} {signal.range}".rstrip().encode()
        handles.append(lib.fstWriterCreateVar(context, kind, lib.FST_VD_IMPLICIT, signal.width, name, 0))
    for _ in range(2 if signals else 1):
        lib.fstWriterSetUpscope(context)
    changes = sorted((cycle, number) for number, signal in enumerate(signals) for cycle in signal.changes)
    now, values = -1, [b""] * len(signals)
    for cycle, number in changes:
        value, text = signals[number].changes[cycle], not signals[number].width
        if cycle and value == values[number]:
            continue
        if cycle != now:
            lib.fstWriterEmitTimeChange(context, cycle)
            now = cycle
        values[number] = value
        if text:
            lib.fstWriterEmitVariableLengthValueChange(context, handles[number], value, len(value))
        else:
            lib.fstWriterEmitValueChange(context, handles[number], value)
    lib.fstWriterEmitTimeChange(context, cycles)


def _scope(context: object, name: str) -> None:
    lib.fstWriterSetScope(context, lib.FST_ST_VCD_MODULE, name.encode(), ffi.NULL)


def _check(draft: Path, path: Path, signals: int, cycles: int) -> None:
    """Raise `OSError` where a file is not whole: the library does not say that a disk was full."""
    reader = lib.fstReaderOpen(os.fsencode(draft))
    if reader == ffi.NULL:
        raise OSError(f"{path} cannot be written whole: is the disk full?")
    try:
        found = lib.fstReaderGetVarCount(reader), lib.fstReaderGetEndTime(reader)
    finally:
        lib.fstReaderClose(reader)
    if found != (signals, cycles) or not _is_whole(draft):
        raise OSError(f"{path} cannot be written whole: is the disk full?")


def _is_whole(path: Path) -> bool:
    """Whether an FST file ends where its last block does. A block is a type and a length, 1 and 8 bytes."""
    place, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while place < size:
            file.seek(place + 1)
            place += 1 + int.from_bytes(file.read(8), "big")
    return place == size
