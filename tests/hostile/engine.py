"""Reads damaged files, one after another, and judges what the reader made of each.

A `Reader` says how to read a file, which exceptions refuse one, and what it may take. `Hunt` damages its
valid files and reads them in this process; `watched.py` runs a hunt in a process of its own, and ends it
where it hangs.
"""

import os
import re
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.hostile.limits import Written, rss, writing_only_below
from tests.hostile.mutate import LARGEST, Mutator, damaged

LONGEST_LINE = 1000
"""Characters that the message of a refusal may have."""

MOST_KEPT = 400
"""Damaged files that are kept to be damaged further, because they led to a new message."""

MEASURED = 64
"""After every so many files, the memory of the process is measured."""


class Wrong(Exception):
    """A damaged file was accepted and means something else than a second opinion says."""


@dataclass(frozen=True)
class Reader:
    """A reader of files, or of other bytes, that come from a stranger."""

    name: str
    refusals: tuple[type[Exception], ...]
    """The project's exceptions that refuse a file in one line. Every other exception is a failure."""
    corpus: Callable[[Path], list[bytes]]
    """Valid files, small ones; they may be made in the folder that is given."""
    read: Callable[[bytes, Path], None]
    """Read a file, in an empty folder if the reader needs one on disk; the only folder to which it may write.
    Raises `Wrong` where a file is accepted and a second opinion differs."""
    mutate: Mutator = damaged
    mend: Callable[[bytes], bytes] | None = None
    """Makes checksums right again, which half of the damaged files get, so that what they protect is read."""
    seconds: float = 5.0
    """Processor time that a file may take."""
    lazy: bool = False
    """Whether a MemoryError may refuse a file: a library allocates what a header says, before it reads."""
    megabytes: int = 1024
    """Address space that a file may take beside that of the process. It may grow by half of it in a hunt."""


@dataclass
class Tally:
    """What came of the files of a hunt."""

    read: int = 0
    accepted: int = 0
    refused: int = 0
    messages: set[str] = field(default_factory=set)
    """The messages of refusals, without their numbers and quoted texts."""
    failures: list[tuple[str, bytes]] = field(default_factory=list)
    """(what is wrong, the file that shows it)."""
    seconds: float = 0.0


class Hunt:
    """Damages and reads files; ``tally`` has what came of them.

    Files that led to a message that was new are damaged further, so that a hunt gets deeper into a reader.

    Arguments:
        folder: an empty folder, to which alone a reader may write.
        kept: files that earlier hunts have kept.
    """

    def __init__(self, reader: Reader, folder: Path, seed: int = 0, kept: Sequence[bytes] = ()):
        self.reader, self.folder, self.tally = reader, folder.resolve(), Tally()
        self._within = str(self.folder)
        self._random = Random(f"{reader.name} {seed}")
        for name in ("corpus", "files", "empty"):
            (self.folder / name).mkdir()
        self._valid = reader.corpus(self.folder / "corpus")
        self.kept = list(kept)
        self._resident, self._read = rss(), 0
        os.chdir(self.folder / "empty")

    def undamaged(self) -> None:
        """Read the valid files themselves. Raises AssertionError where one is not accepted."""
        for number, data in enumerate(self._valid):
            before = self.tally.accepted
            self.one(data)
            wrong = self.tally.failures or self.tally.messages
            assert self.tally.accepted > before, f"{self.reader.name}: valid file {number}: {wrong}"
        self.tally, self._resident = Tally(), rss()

    def files(self) -> Iterator[bytes]:
        """Damaged files, without an end."""
        while True:
            some = self.kept if self.kept and self._random.random() < 0.5 else self._valid
            data = self.reader.mutate(self._random.choice(some), self._random, self._valid)
            if self.reader.mend and self._random.random() < 0.5:
                data = self.reader.mend(data)
            yield data[:LARGEST]

    def one(self, data: bytes) -> None:
        """Read a file and judge what comes of it."""
        tally, start = self.tally, time.process_time()
        wrong = None
        try:
            with writing_only_below(self._within):
                self.reader.read(data, self.folder / "files")
            tally.accepted += 1
        except self.reader.refusals as error:
            wrong = self._refused(error, data)
        except (Exception, Written):  # noqa: BLE001 (whatever it is, it is a failure)
            wrong = f"a crash: {_shortened(traceback.format_exc())}"
        took = time.process_time() - start
        tally.read += 1
        tally.seconds += took
        if not wrong and took > self.reader.seconds:
            wrong = f"it took {took:.1f} s of {self.reader.seconds:g} s"
        self._read += 1
        wrong = wrong or (self._grown() if self._read % MEASURED == 0 else None)
        if wrong:
            tally.failures.append((wrong, data))

    def _refused(self, error: Exception, data: bytes) -> str | None:
        self.tally.refused += 1
        text = str(error)
        kind = f"{type(error).__name__}: {_template(text, self.folder)}"
        if kind not in self.tally.messages:
            self.tally.messages.add(kind)
            if len(self.kept) < MOST_KEPT and len(data) < 1 << 16:
                self.kept.append(data)
        if not text.strip() or "\n" in text:
            return f"a message that is not one line: {text!r:.2000}"
        if len(text) > LONGEST_LINE:
            return f"a message of {len(text):,} characters: {text:.200} …"
        before: BaseException = error
        while before := before.__cause__ or before.__context__:
            if isinstance(before, MemoryError) and not self.reader.lazy:
                return f"more than {self.reader.megabytes} MB of memory, refused as: {text}"
        return None

    def _grown(self) -> str | None:
        """What is wrong with the memory of the process and the folder that it works in, if anything is."""
        if left := os.listdir(self.folder / "empty"):  # noqa: PTH208 (much faster)
            return f"files in the working directory: {left}"
        now = rss()
        if now - self._resident > self.reader.megabytes / 2:
            before, self._resident = self._resident, now
            return f"the process has grown from {before:.0f} MB to {now:.0f} MB by now"
        return None


def _template(text: str, folder: Path) -> str:
    """A message without what differs from file to file."""
    text = re.sub(r"'[^']*'|\"[^\"]*\"|0x[0-9a-f]+|-?\d[\d.,×e+-]*", "#", text.replace(str(folder), ""))
    return re.sub(r"#(?:\W{0,3}#)+", "#", re.sub(r"[^\x20-\x7e×]+", "?", text))[:120]


def _shortened(text: str) -> str:
    """The first and the last lines of a traceback."""
    lines = text.splitlines()
    return "\n".join(lines if len(lines) < 40 else [*lines[:20], "…", *lines[-8:]])
