"""What a reader may not do: write elsewhere, start programs, or take more memory than it is given."""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
}
_PROGRAMS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.startfile"}
_NETWORK = {"socket.connect", "socket.bind", "socket.getaddrinfo"}

_allowed: str | None = None
"""The folder that may be written to while a file is read; None while none is."""
_installed = False


class Written(BaseException):
    """A reader has changed something outside its folder, or has started a program or a connection. No reader
    can catch it by mistake, because it is no `Exception`.
    """


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Python's audit hook: it hears of everything that goes through Python's own functions."""
    if _allowed is None:
        return
    if event in _PROGRAMS or event in _NETWORK:
        raise Written(f"{event}{arguments!r:.200}")
    if event == "open":
        path, _, flags = arguments
        changed = [path] if isinstance(flags, int) and flags & _WRITES else []
    else:
        changed = list(arguments[:2] if event in ("os.rename", "os.link", "os.symlink") else arguments[:1])
        changed = changed if event in _CHANGES else []
    for path in changed:
        if isinstance(path, str | bytes | os.PathLike):
            whole = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 (much faster, and it follows no links)
            if whole != os.devnull and not whole.startswith(_allowed):
                raise Written(f"{event} of {whole}")


@contextmanager
def writing_only_below(folder: str) -> Iterator[None]:
    """Raise `Written` in this block where anything outside ``folder``, an absolute path, is changed through
    Python's functions, and where a program or a connection is started. Threads are watched, too.
    """
    global _allowed, _installed
    if not _installed:
        sys.addaudithook(_watch)
        _installed = True
    _allowed = f"{folder}{os.sep}"
    try:
        yield
    finally:
        _allowed = None


def rss() -> float:
    """The memory that this process has now, in MB."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 (faster)
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def limit_memory(megabytes: int) -> None:
    """Let this process allocate at most so many MB more than it has: beyond them there is a MemoryError."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        now = int(file.read().split()[0]) * resource.getpagesize()
    limit = now + megabytes * 10**6
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
