"""An accelerator with a model on it, as a program uses it: images in, labels out."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.pictures import convert
from haarlequin.sw.devices import Device, Notice, Result, open_device
from haarlequin.sw.resolve import ModelSource

Picture = np.ndarray | Image.Image | Path | str
"""An image: pixels, a PIL image, or the path of a file."""


@dataclass(frozen=True)
class Predictions:
    """What came of n images."""

    classes: tuple[str, ...]
    """The labels' names."""
    logits: np.ndarray
    """int32 (n, classes)"""
    scores: np.ndarray
    """float64 (n, classes), between 0 and 1: softmax(logits · `ModelConfig.logit_scale`)"""
    cycles: np.ndarray
    """int64 (n,), of the accelerator; predicted ones where it is not there."""
    saturations: np.ndarray
    """int64 (n,), values that were clipped on the way."""

    @property
    def labels(self) -> np.ndarray:
        """int64 (n,), the likeliest class of each; of several, the first."""
        return self.logits.argmax(1)

    @property
    def names(self) -> list[str]:
        """The labels in words."""
        return [self.classes[label] for label in self.labels]


class Accelerator:
    """A device with a model loaded, ready to classify. Use it in a ``with`` block, or `close` it.

    Threads may share it: each `classify` and each `stream` waits for its turn, as `sw.devices.Device` says.

    Threads may share it. The device serves one call of `classify`, or one iterator of `stream`, at a time,
    and the others wait: each gets the results of its own images, in their order. What `sw.devices.Device`
    says of turns and of closing holds here.

    Arguments:
        device: one of `sw.devices.KINDS`. ``sim``, the RTL itself, needs no board; its first use builds it,
            in about a minute.
        model: name of a trained model, an ONNX file, a checkpoint, or a folder that sw/compile.py wrote.
        config: accelerator to simulate, one of `hw.config.CONFIGS`; by default the one that the model is
            meant for. A board has its own.
        notice: told what takes long, a line each.
        progress: told how many bytes of how many of the tables are loaded.

    Raises:
        UsageError: there is no such device, model or configuration, or they do not go together.
        DeviceError: the device does not answer, or is another than the tables are for.

    >>> with Accelerator("golden", "digits") as accelerator:
    ...     accelerator.classify([np.zeros((8, 8), np.uint8)]).logits.shape
    (1, 10)
    """

    def __init__(
        self,
        device: str = "sim",
        model: str | Path = "digits",
        config: str | None = None,
        notice: Notice = lambda line: None,
        progress: Callable[[int, int], None] | None = None,
    ):
        source = ModelSource(str(model))
        if config and device.startswith("serial:"):
            raise UsageError("a board has its own configuration: leave it out")
        machine = None if device.startswith("serial:") else source.machine(config)
        self.device: Device = open_device(device, machine, notice)
        try:
            self.model = source.compiled(self.device.digest)
            self.device.load(self.model, progress)
        except BaseException:
            self.close()
            raise
        self.model_config = self.model.tables.model
        self._golden: Device | None = None

    def classify(self, images: Iterable[Picture]) -> Predictions:
        """Labels, logits and cycles of images, in order.

        Arguments:
            images: of any size and mode that `models.common.pictures.convert` takes; an array is (n, H, W),
                (n, H, W, channels) or a sequence of such, uint8.

        Raises:
            PictureError: an image cannot be used.
            DeviceError: the device fails for good.
        """
        if isinstance(images, str | Path | Image.Image):
            raise TypeError(f"images must be several, not {images!r}: put it into a list")
        results = list(self.stream(self.pixels(image)[0] for image in images))
        classes = self.model_config.classes
        logits = np.array([result.logits for result in results], np.int32).reshape(-1, len(classes))
        return Predictions(
            classes,
            logits,
            scores(logits, self.model_config.logit_scale),
            np.array([result.cycles for result in results], np.int64),
            np.array([result.saturations for result in results], np.int64),
        )

    def stream(self, pixels: Iterable[np.ndarray]) -> Iterator[Result]:
        """The result of each image, as it comes; ``pixels`` are those of `pixels`, taken as there is room.

        Until the iterator is exhausted, closed or dropped, other threads wait for the device, and this thread
        gets RuntimeError for whatever else it asks of it.
        """
        return self.device.run(pixels)

    def check(self, pixels: np.ndarray, result: Result) -> str | None:
        """Compare a result with that of the golden model; the first difference, if there is one.

        Raises `UsageError` where the model was given as tables.
        """
        if self._golden is None:
            if self.model.golden is None:
                raise UsageError("tables alone cannot be checked: give the model's name or its ONNX file")
            from haarlequin.sw.devices.golden import GoldenDevice

            golden = GoldenDevice(self.device.digest)
            golden.load(self.model)
            self._golden = golden  # now that other threads may use it
        (expected,) = self._golden.run([pixels])
        for class_, wanted, came in zip(
            self.model_config.classes, expected.logits, result.logits, strict=True
        ):
            if wanted != came:
                return f"class {class_}: expected {wanted}, got {came}"
        for name in ("cycles", "saturations"):
            wanted, came = getattr(expected, name), getattr(result, name)
            if wanted != came:
                return f"{name}: expected {wanted}, got {came}"
        return None

    def pixels(self, image: Picture) -> tuple[np.ndarray, str | None]:
        """What the model takes of an image, uint8 (H, W, channels), and what was done to it, if anything."""
        source = Path(image) if isinstance(image, str) else image
        return convert(source, *self.model_config.image, self.model_config.channels)

    def close(self) -> None:
        """Let go of the device."""
        self.device.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def scores(logits: np.ndarray, scale: float) -> np.ndarray:
    """softmax(logits · scale) over the last axis, float64."""
    powers = np.exp((logits.astype(np.float64) - logits.max(-1, keepdims=True)) * scale)
    return powers / powers.sum(-1, keepdims=True)
