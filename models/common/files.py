"""Writing files whole or not at all, and folders in which one process builds at a time."""

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_drafts = itertools.count()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A draft beside ``path``, with its folder, that takes its place when the block ends well, or
    vanishes. The file gets the mode of any new one, whatever the block's own writer would give it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{next(_drafts)}")
    try:
        # The system takes the umask off. safetensors makes files that only their owner may read.
        descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY, 0o666)
        mode = os.fstat(descriptor).st_mode & 0o777
        os.close(descriptor)
        yield draft
        draft.chmod(mode)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file of UTF-8, whole or not at all."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def say(line: str) -> None:
    """Tell whoever waits at a terminal."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def locked(folder: Path, notice: Callable[[str], None] = say) -> Iterator[None]:
    """Keep other processes, and other threads, that ask for the same out of ``folder`` during the block.

    Where one is in it, ``notice`` gets a line, and this waits. The lock is a file beside the folder, which
    so may be deleted and made again; a process that dies lets go of it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        notice(f"another process is building in {folder}: waiting until it is done")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
