"""What all devices have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from sw.compiled import Compiled

if TYPE_CHECKING:
    from models.golden import GoldenModel

Notice = Callable[[str], None]
"""Takes a line for a person to read."""


class DeviceError(Exception):
    """A device does not do what it must; the message is one line and says what to look at."""


@dataclass(frozen=True)
class Model:
    """A model to run: its tables, and the golden model they were made from, where it is at hand."""

    tables: Compiled
    golden: "GoldenModel | None" = None


@dataclass(frozen=True)
class Result:
    """What a device made of one image."""

    logits: np.ndarray
    """int32 (classes,)"""
    cycles: int
    """Of the accelerator's lanes."""
    saturations: int
    """Values that were clipped on the way."""


class Device(ABC):
    """Something that runs compiled models. Use it in a ``with`` block, or `close` it."""

    name: str
    """For messages."""
    digest: int
    """`AcceleratorConfig.digest` of what it is made of."""
    predicts = False
    """Whether its cycles are the compiler's prediction and nothing was counted."""

    @abstractmethod
    def load(self, model: Model, progress: Callable[[int, int], None] | None = None) -> None:
        """Take this model from now on; ``progress`` hears how many bytes of how many are done.

        Raises `DeviceError`, also for tables of another accelerator.
        """

    @abstractmethod
    def run(self, images: Iterable[np.ndarray]) -> Iterator[Result]:
        """The result of each image, uint8 (H, W, channels), in order; images are taken as they are needed.

        An iterator that is dropped before its end leaves nothing behind. Raises `DeviceError`.
        """

    @abstractmethod
    def counters(self) -> Mapping[str, int]:
        """Cycles spent on each operation since the device began, modulo 2³²."""

    @abstractmethod
    def reset(self) -> None:
        """Forget images that are under way; the model stays."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
