"""Run a simulator that `sw.verilated.build.build` made, as a library in this process."""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

CHUNK = 64
"""Bytes that go to or from the bench at once. A received byte is also here at most this many cycles later."""


class Simulation:
    """The two byte streams of a component, after a reset. Time passes only while the caller waits for bytes.

    Threads may share it: a method waits until no other thread is in a method. `close` waits for one such
    method at most; all later calls raise ValueError.

    Arguments:
        folder: the folder that `sw.verilated.build.build` returned.
    """

    def __init__(self, folder: Path):
        self._library = _load(folder / "library.so")
        self._bench = self._library.bench_open()
        self._to_send, self._before = bytearray(), 0
        # ctypes lets other threads run during a call, so a lock is needed. It is reentrant, because the
        # garbage collector may call a method within another one.
        self._lock, self._closed = threading.RLock(), False

    def send(self, data: bytes) -> None:
        """Queue bytes for ``rx``. They are sent, one per cycle while it is ready, as time passes."""
        with self._lock:
            self._to_send += data

    def receive(self, silence: int) -> bytes:
        """The next bytes of ``tx``, at least one; empty after ``silence`` cycles in which nothing comes.

        These cycles are counted from the last chunk that went in, and may be up to `CHUNK` - 1 more.
        """
        received, taken = ctypes.create_string_buffer(CHUNK), ctypes.c_size_t()
        with self._open() as bench:
            waiting = bytes(self._to_send)
            count = self._library.bench_exchange(
                bench, waiting, len(waiting), ctypes.byref(taken), received, silence
            )
            del self._to_send[: taken.value]
        return received.raw[:count]

    def restart(self) -> None:
        """Reset the component, and drop the bytes that are on their way to it."""
        with self._open() as bench:
            self._to_send.clear()
            self._before += self._library.bench_cycle(bench)
            self._library.bench_restart(bench)

    @property
    def waiting(self) -> int:
        """Bytes that are queued, and that the bench has not taken yet."""
        with self._lock:
            return len(self._to_send)

    @property
    def cycle(self) -> int:
        """Clock edges since the beginning; a restart takes none, and the clock of a host goes on."""
        with self._open() as bench:
            return self._before + self._library.bench_cycle(bench)

    def close(self) -> None:
        """End the simulation; using it after that raises ValueError."""
        self._closed = True  # before taking the lock, which another thread may release and take again at once
        with self._lock:
            bench, self._bench = self._bench, None
            if bench:
                self._library.bench_close(bench)

    @contextmanager
    def _open(self) -> Iterator[int]:
        """The bench, while no other thread may use it."""
        with self._lock:
            if self._closed:
                raise ValueError("the simulation is closed")
            yield self._bench

    def __enter__(self) -> "Simulation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    handle, size = ctypes.c_void_p, ctypes.c_size_t
    library.bench_open.restype = handle
    library.bench_close.argtypes = library.bench_restart.argtypes = [handle]
    library.bench_close.restype = library.bench_restart.restype = None
    library.bench_cycle.argtypes, library.bench_cycle.restype = [handle], ctypes.c_uint64
    library.bench_exchange.argtypes = [
        handle, ctypes.c_char_p, size, ctypes.POINTER(size), ctypes.c_char_p, ctypes.c_uint64,
    ]  # fmt: skip
    library.bench_exchange.restype = size
    return library
