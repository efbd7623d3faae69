"""A simulator that `sw.verilated.build.build` made, in this process."""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

CHUNK = 64
"""Bytes that go to and from the bench at once, and cycles until a received byte is here at the latest."""


class Simulation:
    """The two byte streams of a component, after a reset; time passes while one waits for bytes.

    Threads may share it: each of its methods waits for the one that another thread is in. `close` waits for
    that one alone, and all later ones raise ValueError.

    Arguments:
        folder: what `sw.verilated.build.build` returned.
    """

    def __init__(self, folder: Path):
        self._library = _load(folder / "library.so")
        self._bench = self._library.bench_open()
        self._to_send = bytearray()
        # ctypes lets other threads run meanwhile. Reentrant, for what the garbage collector may call.
        self._lock, self._closed = threading.RLock(), False

    def send(self, data: bytes) -> None:
        """Bytes for ``rx``, one a cycle while it is ready, once time passes."""
        with self._lock:
            self._to_send += data

    def receive(self, silence: int) -> bytes:
        """The next bytes of ``tx``, at least one; none where nothing comes for ``silence`` cycles, and less
        than `CHUNK` more, after the last chunk of what is sent went in.
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
        """Reset the component, and forget what was on its way to it."""
        with self._open() as bench:
            self._to_send.clear()
            self._library.bench_restart(bench)

    @property
    def cycle(self) -> int:
        """Clock edges since the reset."""
        with self._open() as bench:
            return self._library.bench_cycle(bench)

    def close(self) -> None:
        """End the simulation; using it after that raises ValueError."""
        self._closed = True  # before the lock: another thread may let go of it and take it again at once
        with self._lock:
            bench, self._bench = self._bench, None
            if bench:
                self._library.bench_close(bench)

    @contextmanager
    def _open(self) -> Iterator[int]:
        """The bench, for this thread alone."""
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
