"""Writing files whole or not at all, and folders in which one process builds at a time."""

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from haarlequin.models.common.errors import UsageError

_drafts = itertools.count()


def _draft(path: Path) -> Path:
    """A name beside ``path`` that nobody else has."""
    return path.with_name(f".{path.name}.{os.getpid()}-{next(_drafts)}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The path of a draft beside ``path``, whose folder is made where it is missing. The draft replaces
    ``path`` when the block ends without an exception, and is deleted otherwise. It gets the mode of any new
    file, whatever mode the block would give it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft(path)
    try:
        # The system applies the umask to this mode. safetensors makes files that only their owner may read.
        descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY, 0o666)
        mode = os.fstat(descriptor).st_mode & 0o777
        os.close(descriptor)
        yield draft
        draft.chmod(mode)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def check_replaceable(path: Path) -> None:
    """Raise `UsageError` where `replacing` could not write ``path``, to be told before the work and not after
    it. Nothing is left, and no folder is made.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file")
    if path.exists() and not path.is_file():  # a device, a pipe: a file would take its place
        raise UsageError(f"{path} is no regular file: name another")
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    draft = _draft(folder / path.name)
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_WRONLY, 0o666))
        draft.unlink()
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file, whole or not at all."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def say(line: str) -> None:
    """Print a line on stderr, for a person who waits at a terminal."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def locked(folder: Path, notice: Callable[[str], None] = say) -> Iterator[None]:
    """Keep other processes and threads that lock the same ``folder`` out of it during the block.

    While another one has the lock, this waits, after it has passed a line to ``notice``. The lock is a file
    beside the folder, so that the folder itself may be deleted and made again. It is released when its
    process dies.
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
