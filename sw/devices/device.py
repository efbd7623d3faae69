"""The interface that all devices share: load a compiled model, run images, return results."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from queue import SimpleQueue
from typing import TYPE_CHECKING, Self

import numpy as np

from haarlequin.models.common.errors import OneLine, UsageError
from haarlequin.sw.table_folder import Compiled

if TYPE_CHECKING:
    from haarlequin.models.golden import GoldenModel

Notice = Callable[[str], None]
"""A function that takes one line for a person to read."""

Progress = Callable[[int, int], None]
"""A function that takes two numbers: the bytes or images that are done, and all of them."""


class DeviceError(OneLine):
    """A device failed or does not answer; the message is one line and says what to look at."""


class CompiledModel:
    """A compiled model, ready to run: its tables, and the golden model that they were made from, if known.

    Arguments:
        tables: what the compiler made for one accelerator; None for a model that only the golden device runs.
        golden: the golden model, where it has been read already.
        load: a function that reads the golden model. It is called at most once, and only where the golden
            model is needed.
        compile: a function that compiles the same model for the accelerator with another digest.
    """

    def __init__(
        self,
        tables: Compiled | None,
        golden: "GoldenModel | None" = None,
        load: "Callable[[], GoldenModel] | None" = None,
        compile: "Callable[[int], CompiledModel] | None" = None,
    ):
        self.tables, self._golden, self._load, self._compile = tables, golden, load, compile

    @property
    def placed(self) -> Compiled:
        """The tables; raises `DeviceError` for a model that only the golden device runs."""
        if self.tables is None:
            raise DeviceError("the model has no tables, since no accelerator runs it: take --device golden")
        return self.tables

    def on(self, digest: int) -> "CompiledModel":
        """The same model for the accelerator with that digest; itself where it cannot be compiled again.

        Raises `UsageError` where the model does not fit there.
        """
        if self._compile is None or self.tables is None or self.tables.digest == digest:
            return self
        return self._compile(digest)

    @cached_property
    def golden(self) -> "GoldenModel | None":
        """The golden model, or None where there are only tables."""
        return self._load() if self._load else self._golden


@dataclass(frozen=True)
class Answered:
    """The answer to one image or to several: logits, or only the labels that follow from them."""

    answer: np.ndarray
    """int32: the logits, or the labels if ``labels_only``."""
    labels_only: bool = field(default=False, kw_only=True)
    """Whether the logits did not come: a segmentation model gives them only if it is asked for them."""

    @property
    def logits(self) -> np.ndarray:
        """int32 (…, classes). Raises `UsageError` where only the labels came."""
        if self.labels_only:
            raise UsageError("only the labels came: ask for the logits, with Accelerator(…, logits=True)")
        return self.answer

    @property
    def labels(self) -> np.ndarray:
        """int64 (…), the class with the largest logit; of several, the first."""
        return self.answer.astype(np.int64) if self.labels_only else self.answer.argmax(-1)

    def like(self, logits: np.ndarray) -> np.ndarray:
        """The ``answer`` that would have come if these were the logits: to compare it with."""
        return logits.argmax(-1) if self.labels_only else logits


@dataclass(frozen=True)
class Result(Answered):
    """The result of one image. Its labels are the class of the image, (), or of each token, (N,)."""

    cycles: int
    """Cycles of the accelerator's lanes."""
    saturations: int
    """How many values were clipped."""
    digest: int | None = field(default=None, kw_only=True)
    """`Device.digest` of the one that computed the image, where a device is made of several."""


@dataclass(frozen=True)
class Benchmark:
    """The time that an accelerator took for one image, computed many times without waiting for its line."""

    images: int
    """How many times."""
    cycles: int
    """Cycles for all of them, those included in which the first is embedded, and the last result is taken."""
    clock_hz: int
    """Cycles in a second."""
    result: Result
    """The result of the image, which all of them had."""

    @property
    def images_per_second(self) -> float:
        """Images that it computes in a second."""
        return self.images * self.clock_hz / self.cycles


class Turn:
    """Lets one thread at a time into a ``with`` block; the others wait, in no particular order.

    The thread that leaves a block may be another one than the thread that entered it, and may be the
    garbage collector. Raises `DeviceError` once it is closed, and RuntimeError in a thread that would wait
    for itself.

    Arguments:
        name: the device's name, for messages.
    """

    def __init__(self, name: str):
        self._name, self._closed = name, False
        self._holder: threading.Thread | None = None
        # It holds one item while no thread has the turn. A lock could not wake the waiting threads when the
        # turn is closed. A condition can deadlock where the garbage collector leaves a block; `put` cannot.
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
            self._free.put(None)  # for the next thread that waits
        self.check_open()
        self.keep()

    def __exit__(self, *_: object) -> None:
        self._holder = None
        self._free.put(None)

    def keep(self) -> None:
        """Give the open block to this thread, which need not be the one that entered it."""
        self._holder = threading.current_thread()

    def close(self) -> None:
        """Refuse all threads from now on, those that wait included."""
        self._closed = True
        self._free.put(None)

    def check_open(self) -> None:
        """Raise `DeviceError` if the turn is closed."""
        if self._closed:
            raise DeviceError(f"{self._name}: the device is closed")


class Device(ABC):
    """Runs compiled models. Use it in a ``with`` block, or `close` it.

    Threads may share a device. It does one thing at a time: `load`, `run`, `benchmark`, `counters` and
    `reset` wait for their turn, in no particular order. A run has its turn from the first result that is
    asked for until the last result has come, or until its iterator is closed or dropped. A thread that has
    taken a result from an unfinished run would wait for itself, so any other call that it makes raises
    RuntimeError at once.

    `close` does not wait for a turn. Calls of other threads, under way or waiting, then end in `DeviceError`.
    """

    digest: int
    """`AcceleratorConfig.digest` of the accelerator."""
    predicts = False
    """Whether the cycles are the compiler's prediction, because nothing was counted."""

    def __init__(self, name: str):
        self.name = name
        """The name that messages give the device."""
        self._turn = Turn(name)

    def load(self, model: CompiledModel, progress: Progress | None = None) -> None:
        """Use this model from now on; ``progress`` is told how many bytes of how many are loaded.

        Raises `DeviceError`, also for tables of another accelerator.
        """
        with self._turn:
            self._load(model, progress or (lambda done, total: None))

    def run(self, images: Iterable[np.ndarray]) -> Generator[Result, None, None]:
        """The result of each image, uint8 (H, W, channels), in order; images are taken as they are needed.
        An iterator that has ended may be asked again while images are under way, and go on (`Feed`).

        An iterator may be dropped before its end: the device then forgets the remaining images. Raises
        `DeviceError` where the device fails.
        """
        with self._turn, closing(self._run(iter(images))) as results:
            for result in results:
                yield result
                self._turn.keep()  # the iterator may have been handed on

    def benchmark(self, image: np.ndarray, count: int, progress: Progress | None = None) -> Benchmark:
        """Compute an image, uint8 (H, W, channels), ``count`` times, within the accelerator: what that takes.
        ``progress`` is told how many of how many are done.

        Raises `DeviceError` where the device fails, or one of the results is another than the first, and
        for a device that is no accelerator.
        """
        with self._turn:
            return self._benchmark(image, count, progress or (lambda done, total: None))

    def counters(self) -> Mapping[str, int]:
        """Cycles spent on each operation since the device was opened, modulo 2³²."""
        with self._turn:
            return self._counters()

    def reset(self) -> None:
        """Forget images that are under way; the model stays."""
        with self._turn:
            self._reset()

    def close(self) -> None:
        """Close the device. It waits at most for the bytes that are just being sent or received."""
        self._turn.close()
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Each device implements these; they are called while the thread has its turn.

    @abstractmethod
    def _load(self, model: CompiledModel, progress: Progress) -> None: ...

    @abstractmethod
    def _run(self, images: Iterator[np.ndarray]) -> Generator[Result, None, None]: ...

    @abstractmethod
    def _benchmark(self, image: np.ndarray, count: int, progress: Progress) -> Benchmark: ...

    @abstractmethod
    def _counters(self) -> Mapping[str, int]: ...

    @abstractmethod
    def _reset(self) -> None: ...

    @abstractmethod
    def _close(self) -> None:
        """Close it, whatever another thread is doing with it. It may be called more than once."""
