"""A hunt in a process of its own, which is ended where it hangs, and begun again where it has died."""

import mmap
import multiprocessing
import os
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

from tqdm import tqdm

from tests.hostile.engine import Hunt, Reader, Tally
from tests.hostile.limits import limit_memory
from tests.hostile.mutate import LARGEST

HANGS = 4
"""A process that has computed for so many times its limit of seconds on one file is ended."""

SLEEPS = 40
"""The same for seconds of the clock: it may have to wait for a processor, but not for ever."""

STARTED = 300.0
"""Seconds within which a process has to have read its valid files."""

MOST_FAILURES = 20
"""After so many failures a reader gets no more files."""

REPORTED = 0.5
"""Seconds between two reports of a hunt."""

_HEAD = struct.Struct("<QQ")
"""Number of the file that is being read, and its size; both and the file itself lie in shared memory."""


def found(place: str) -> Reader:
    """The reader at ``module:NAME``."""
    module, _, name = place.partition(":")
    reader: Reader = getattr(import_module(module), name)
    return reader


@dataclass(frozen=True)
class Report:
    """What a hunt has found since its last report."""

    tally: Tally
    kept: Sequence[bytes]
    """The files that are worth damaging further."""


def _hunt(
    place: str, seed: int, count: int, kept: Sequence[bytes], folder: str, shared: str, reports: Connection
) -> None:
    """The whole life of the process."""
    sys.dont_write_bytecode = True
    tqdm.set_lock(threading.RLock())  # its own is a semaphore, which a process that is killed would leave
    hunt = Hunt(found(place), Path(folder), seed, kept)
    with Path(shared).open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        hunt.undamaged()
        limit_memory(hunt.reader.megabytes)
        reports.send(hunt.reader.seconds)
        told, sent = time.monotonic(), len(hunt.kept)
        for number, data in zip(range(count), hunt.files(), strict=False):
            memory[_HEAD.size : _HEAD.size + len(data)] = data
            memory[: _HEAD.size] = _HEAD.pack(number + 1, len(data))
            hunt.one(data)
            if time.monotonic() - told > REPORTED or hunt.tally.failures or number == count - 1:
                reports.send(Report(hunt.tally, hunt.kept[sent:]))
                told, sent, hunt.tally = time.monotonic(), len(hunt.kept), Tally(messages=hunt.tally.messages)


def hunt(
    place: str,
    count: int,
    seed: int = 0,
    kept: Sequence[bytes] = (),
    tell: Callable[[Report], bool] = lambda report: True,
) -> Tally:
    """Let the reader at ``place`` read ``count`` damaged files; ``tell`` gets every report, and returns
    whether to go on. A process that has died or was ended is begun again, with another seed.
    """
    whole, kept, restarts = Tally(), list(kept), 0
    while whole.read < count and len(whole.failures) < MOST_FAILURES:
        with (
            tempfile.TemporaryDirectory() as folder,
            _Process(place, seed + restarts, count - whole.read, kept, Path(folder)) as process,
        ):
            for report in process.reports():
                _add(whole, report.tally)
                kept += report.kept
                if not tell(report) or len(whole.failures) >= MOST_FAILURES:
                    return whole
        restarts += 1
    return whole


class _Process:
    """One process of a hunt. It is killed at the end of the block."""

    def __init__(self, place: str, seed: int, count: int, kept: Sequence[bytes], folder: Path):
        self._shared, scratch = folder / "shared", folder / "scratch"
        self._shared.write_bytes(bytes(_HEAD.size + LARGEST))
        scratch.mkdir()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe(duplex=False)
        arguments = (place, seed, count, kept, str(scratch), str(self._shared), theirs)
        self._process = context.Process(target=_hunt, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> "_Process":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def reports(self) -> Iterator[Report]:
        """What the process reports, until it ends. Where it hangs or dies, the last report says so. Raises
        RuntimeError where it does not begin.
        """
        if not self._pipe.poll(STARTED):
            raise RuntimeError("a hunt did not begin")
        try:
            seconds = self._pipe.recv()
        except EOFError:
            raise RuntimeError("a hunt did not begin: its error is above") from None
        before, since, computed, told = 0, time.monotonic(), self._computed(), 0
        while True:
            try:
                if self._pipe.poll(0.2):
                    report = self._pipe.recv()
                    told += report.tally.read
                    yield report
                    continue
            except EOFError:
                self._process.join()
                if self._process.exitcode:
                    yield self._broken(f"the process died, exit code {self._process.exitcode}", told)
                return
            number, _ = self._current()
            if number != before:
                before, since, computed = number, time.monotonic(), self._computed()
            busy, waited = self._computed() - computed, time.monotonic() - since
            if busy > HANGS * seconds or waited > SLEEPS * seconds:
                yield self._broken(f"it hangs: nothing in {waited:.0f} s, of {seconds:g} s", told)
                return

    def _broken(self, why: str, told: int) -> Report:
        """A report on the file that is being read, and on those read since the last report."""
        number, data = self._current()
        return Report(Tally(read=max(1, number - told), failures=[(why, data)]), [])

    def _computed(self) -> float:
        """Seconds of processor time that the process has had."""
        try:
            text = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii")
        except OSError:  # it has just ended
            return 0.0
        fields = text.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _current(self) -> tuple[int, bytes]:
        """The number of the file that is being read, and the file."""
        content = self._shared.read_bytes()
        number, size = _HEAD.unpack_from(content)
        return number, content[_HEAD.size : _HEAD.size + size]


def _add(whole: Tally, part: Tally) -> None:
    whole.read += part.read
    whole.accepted += part.accepted
    whole.refused += part.refused
    whole.seconds += part.seconds
    whole.messages |= part.messages
    whole.failures += part.failures
