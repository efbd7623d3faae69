"""What all devices have in common."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from queue import SimpleQueue
from typing import TYPE_CHECKING, Self

import numpy as np

from haarlequin.sw.table_folder import Compiled

if TYPE_CHECKING:
    from haarlequin.models.golden import GoldenModel

Notice = Callable[[str], None]
"""Takes a line for a person to read."""

Progress = Callable[[int, int], None]
"""Takes how many bytes of how many are done."""


class DeviceError(Exception):
    """A device does not do what it must; the message is one line and says what to look at."""


class CompiledModel:
    """A model to run: its tables, and the golden model they were made from, where it is at hand.

    Arguments:
        tables: what it was compiled to.
        golden: the golden model, where it is there already.
        load: what gets it, called once and only where it is needed.
    """

    def __init__(
        self,
        tables: Compiled,
        golden: "GoldenModel | None" = None,
        load: "Callable[[], GoldenModel] | None" = None,
    ):
        self.tables, self._golden, self._load = tables, golden, load

    @cached_property
    def golden(self) -> "GoldenModel | None":
        """The golden model, None where there are only tables."""
        return self._load() if self._load else self._golden


@dataclass(frozen=True)
class Result:
    """What a device made of one image."""

    logits: np.ndarray
    """int32 (classes,)"""
    cycles: int
    """Of the accelerator's lanes."""
    saturations: int
    """Values that were clipped on the way."""


class Turn:
    """A ``with`` block on it waits until no other is open, and is then the only one.

    Threads come in no particular order. A block may be left by another thread than has entered it, the
    garbage collector's included. Raises `DeviceError` once it is closed, and RuntimeError in a thread that
    would wait for itself.

    Arguments:
        name: of the device, for messages.
    """

    def __init__(self, name: str):
        self._name, self._closed = name, False
        self._holder: threading.Thread | None = None
        # Holds one thing while nobody has the turn. A lock could not wake those who wait when it is closed,
        # and a condition may be amiss where the garbage collector leaves a block; `put` never is.
        self._free: SimpleQueue[None] = SimpleQueue()
        self._free.put(None)

    def __enter__(self) -> None:
        self.check_open()
        if self._holder is threading.current_thread():
            raise RuntimeError(
                f"{self._name}: this thread has not finished a run: exhaust its iterator, or close it, first"
            )
        self._free.get()
        if self._closed:
            self._free.put(None)  # for the next who waits
        self.check_open()
        self.keep()

    def __exit__(self, *_: object) -> None:
        self._holder = None
        self._free.put(None)

    def keep(self) -> None:
        """The block goes on in this thread, which need not be the one that has entered it."""
        self._holder = threading.current_thread()

    def close(self) -> None:
        """Let nobody in any more, nor wait."""
        self._closed = True
        self._free.put(None)

    def check_open(self) -> None:
        """Raise `DeviceError` if it is closed."""
        if self._closed:
            raise DeviceError(f"{self._name}: the device is closed")


class Device(ABC):
    """Something that runs compiled models. Use it in a ``with`` block, or `close` it.

    Threads may share a device. It does one thing at a time: `load`, `run`, `counters` and `reset` wait for
    their turn, in no particular order. A run has its turn from the first result that is asked for until
    the last one has come, or its iterator is closed or dropped. The thread that took a result from an
    unfinished run would wait for itself: whatever else it asks of the device raises RuntimeError at once.

    `close` waits for no turn. What other threads have under way, or wait for, then ends in `DeviceError`.
    """

    digest: int
    """`AcceleratorConfig.digest` of what it is made of."""
    predicts = False
    """Whether its cycles are the compiler's prediction and nothing was counted."""

    def __init__(self, name: str):
        self.name = name
        """For messages."""
        self._turn = Turn(name)

    def load(self, model: CompiledModel, progress: Progress | None = None) -> None:
        """Take this model from now on; ``progress`` hears how many bytes of how many are done.

        Raises `DeviceError`, also for tables of another accelerator.
        """
        with self._turn:
            self._load(model, progress or (lambda done, total: None))

    def run(self, images: Iterable[np.ndarray]) -> Iterator[Result]:
        """The result of each image, uint8 (H, W, channels), in order; images are taken as they are needed.

        An iterator that is dropped before its end leaves nothing behind. Raises `DeviceError`.
        """
        with self._turn, closing(self._run(iter(images))) as results:
            for result in results:
                yield result
                self._turn.keep()  # the iterator may have been handed on

    def counters(self) -> Mapping[str, int]:
        """Cycles spent on each operation since the device began, modulo 2³²."""
        with self._turn:
            return self._counters()

    def reset(self) -> None:
        """Forget images that are under way; the model stays."""
        with self._turn:
            self._reset()

    def close(self) -> None:
        """Let go of it, without waiting for more than what is just being sent or received."""
        self._turn.close()
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What a device does when it is its turn

    @abstractmethod
    def _load(self, model: CompiledModel, progress: Progress) -> None: ...

    @abstractmethod
    def _run(self, images: Iterator[np.ndarray]) -> Generator[Result, None, None]: ...

    @abstractmethod
    def _counters(self) -> Mapping[str, int]: ...

    @abstractmethod
    def _reset(self) -> None: ...

    @abstractmethod
    def _close(self) -> None:
        """Let go of it, again if need be, whatever another thread is doing with it."""
