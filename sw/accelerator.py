"""`Accelerator`: a device with a model on it, for use in a program. Images go in, labels come out."""

import math
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeAlias

import numpy as np
from PIL import Image

from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.pictures import convert
from haarlequin.models.segmentation import Size, enlarge
from haarlequin.sw import answer_page
from haarlequin.sw.devices import Answered, Device, Notice, Result, is_board, open_device
from haarlequin.sw.mask_picture import shares
from haarlequin.sw.resolve import ModelSource

Picture: TypeAlias = np.ndarray | Image.Image | Path | str | bytes
"""An image: pixels, a PIL image, the path of a file, or the content of one."""


@dataclass(frozen=True)
class Predictions(Answered):
    """The results of n images.

    Labels are (n,) and logits (n, classes). A segmentation model answers for each of N tokens: labels are
    (n, N) and logits (n, N, classes). Its logits and scores are there if they were asked for, with
    ``Accelerator(…, logits=True)``; otherwise, reading them raises `UsageError`.
    """

    classes: tuple[str, ...]
    """The names of the classes."""
    cycles: np.ndarray
    """int64 (n,), cycles of the accelerator, or 0 where no accelerator runs the model; with the device
    ``golden`` they are predicted."""
    saturations: np.ndarray
    """int64 (n,), how many values were clipped."""
    logit_scale: float
    """`ModelConfig.logit_scale`, by which logits become scores."""
    grid: Size | None = None
    """Rows and columns of the tokens of a segmentation model."""
    image: Size | None = None
    """Height and width of its masks."""
    pixels: np.ndarray | None = field(default=None, repr=False)
    """uint8 (n, H, W, channels), the images as the model saw them: converted by `Accelerator.pixels`. None
    where nobody kept them; `Accelerator.classify` does."""

    @property
    def scores(self) -> np.ndarray:
        """float64 as the logits, between 0 and 1: softmax(logits · ``logit_scale``)."""
        return scores(self.logits, self.logit_scale)

    @property
    def names(self) -> list[str]:
        """The labels as names of classes; raises `UsageError` for a segmentation model."""
        if self.grid:
            raise UsageError("a segmentation model has no one label for an image: ask for its mask()")
        return [self.classes[label] for label in self.labels]

    def mask(self) -> np.ndarray:
        """uint8 (n, H, W), the class of each pixel of the images as the model saw them: that of its token.
        Raises `UsageError` unless it is a segmentation model.
        """
        if not (self.grid and self.image):
            raise UsageError("only a segmentation model has masks: this one has a label for each image")
        return enlarge(self.labels, self.grid, self.image)

    def _repr_html_(self) -> str:
        """The first images with bars of their likeliest classes, or with their masks, for a notebook."""
        return answer_page.fragment(self._answers(), len(self.answer), self.classes)

    def _answers(self) -> Iterator[answer_page.Answer]:
        masks = self.mask() if self.grid else None
        for i in range(len(self.answer)):
            one = Answered(self.answer[i], labels_only=self.labels_only)
            yield answer_page.Answer(
                f"image {i}",
                answer_shares(one, len(self.classes), self.logit_scale, answer_page.LABELS),
                None if self.pixels is None else self.pixels[i],
                None if masks is None else masks[i],
                int(self.cycles[i]),
            )


class Accelerator:
    """A device with a model loaded, ready to classify. Use it in a ``with`` block, or `close` it.

    Threads may share it. The device serves one call of `classify`, or one iterator of `stream`, at a time,
    and the others wait: each gets the results of its own images, in their order. `sw.devices.Device` says
    more of turns and of closing.

    Arguments:
        device: one of `sw.devices.KINDS`. ``sim`` is the RTL itself and needs no board; its first use builds
            the simulator, in about a minute. Several as ``A,B`` share the images (`SeveralDevices`).
        model: name of a trained model, an ONNX file, a checkpoint, or a folder that sw/compile.py wrote.
        config: the hardware configuration to simulate, one of `hw.presets.CONFIGS`; by default the one that
            the model is meant for. A board has its own.
        notice: is told, in one line each, what takes long, and which of several devices has failed.
        progress: is told how many bytes of how many of the tables are loaded.
        logits: whether a segmentation model answers with the logits of each token, not only with its label.
            They take longer on the line. A model with one label for an image always gives its logits.

    Members:
        device: the `Device`.
        model: the `CompiledModel` on it.
        model_config: the model's configuration: its name, image size, classes and more.

    Raises:
        UsageError: there is no such device, model or configuration, or they do not go together; or an image
            has too many logits to ask for.
        DeviceError: the device does not answer, or the tables are for another accelerator.

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
        logits: bool = False,
    ):
        source = ModelSource(str(model))
        if config and is_board(device):
            raise UsageError("a board has its own configuration: leave it out")
        golden_only = device == "golden" and not config and not source.usual
        machine = None if golden_only or is_board(device) else source.machine(config)
        self.device: Device = open_device(device, machine, notice)
        try:
            if golden_only:
                self.model = source.without_tables()
            else:  # the golden device gives logits whatever the tables say
                self.model = source.compiled(self.device.digest, logits and device != "golden")
            self.device.load(self.model, progress)
        except BaseException:
            self.close()
            raise
        self.model_config = source.config
        self._labels_only = source.config.segmentation and not logits
        self._golden: dict[int, Device] = {}

    def classify(self, images: Iterable[Picture]) -> Predictions:
        """Labels, cycles and more of images, in order.

        Arguments:
            images: several images of any size and mode that `models.common.pictures.convert` takes. An array
                is uint8 (n, H, W) or (n, H, W, channels), or a sequence of such images.

        Raises:
            PictureError: an image cannot be used.
            DeviceError: the device fails, also after several tries.
        """
        if isinstance(images, str | bytes | Path | Image.Image):
            raise TypeError(f"images must be several, not {images!r}: put it into a list")
        seen: list[np.ndarray] = []

        def converted() -> Iterator[np.ndarray]:
            for image in images:
                seen.append(self.pixels(image)[0])
                yield seen[-1]

        results = list(self.stream(converted()))
        config, labels_only = self.model_config, self._labels_only
        grid = config.grids[-1] if config.segmentation else None
        tokens, classes = (math.prod(grid),) if grid else (), (len(config.classes),)
        answers = [result.labels if labels_only else result.logits for result in results]
        return Predictions(
            np.array(answers, np.int32).reshape(-1, *tokens, *(() if labels_only else classes)),
            config.classes,
            np.array([result.cycles for result in results], np.int64),
            np.array([result.saturations for result in results], np.int64),
            config.logit_scale,
            grid,
            config.image if grid else None,
            np.array(seen, np.uint8).reshape(-1, *config.image, config.channels),
            labels_only=labels_only,
        )

    def stream(self, pixels: Iterable[np.ndarray]) -> Generator[Result, None, None]:
        """The result of each image, as it comes. The images are taken from ``pixels`` as there is room for
        them; `Accelerator.pixels` makes them.

        Until the iterator is exhausted, closed or dropped, other threads wait for the device, and any other
        call of this thread raises RuntimeError.
        """
        return self.device.run(pixels)

    def check(self, pixels: np.ndarray, result: Result) -> str | None:
        """Compare a result with the golden model's; returns the first difference, or None if they are equal.
        Where only labels came, labels are compared.

        Raises `UsageError` where the model was given as tables.
        """
        digest = self.device.digest if result.digest is None else result.digest
        if digest not in self._golden:
            if self.model.golden is None:
                raise UsageError("tables alone cannot be checked: give the model's name or its ONNX file")
            from haarlequin.sw.devices.golden import GoldenDevice

            golden = GoldenDevice(digest if self.model.tables else None)
            golden.load(self.model.on(digest))
            self._golden[digest] = golden  # only now, because other threads may use it from here on
        (expected,) = self._golden[digest].run([pixels])
        classes, answer = self.model_config.classes, result.like(expected.logits)
        for place in np.argwhere(answer != result.answer).tolist():
            wanted, came = (each[*place] for each in (answer, result.answer))
            if result.labels_only:
                return f"token {place[0]}: expected {classes[wanted]}, got {classes[came]}"
            where = f"token {place[0]}, " if len(place) > 1 else ""
            return f"{where}class {classes[place[-1]]}: expected {wanted}, got {came}"
        for name in ("cycles", "saturations"):
            wanted, came = getattr(expected, name), getattr(result, name)
            if wanted != came:
                return f"{name}: expected {wanted}, got {came}"
        return None

    def pixels(self, image: Picture) -> tuple[np.ndarray, str | None]:
        """Convert an image to the model's input, uint8 (H, W, channels); also say what was changed, or None.

        Raises `PictureError` where it cannot be used.
        """
        source = Path(image) if isinstance(image, str) else image
        return convert(source, *self.model_config.image, self.model_config.channels)

    def close(self) -> None:
        """Close the device."""
        self.device.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def answer_shares(answer: Answered, classes: int, scale: float, top: int) -> list[tuple[int, float]]:
    """The answer to one image as numbers of classes with their shares, 0 to 1, the largest first: the ``top``
    likeliest classes with their scores, or all classes of a segmentation model's tokens with their
    proportions of the image. Of equal logits the first comes first.

    Arguments:
        classes: how many classes the model has.
        scale: `ModelConfig.logit_scale`.
    """
    if answer.labels.ndim:
        return shares(answer.labels, classes)
    share = scores(answer.logits, scale)
    order = np.argsort(-answer.logits, kind="stable")[:top].tolist()
    return [(i, float(share[i])) for i in order]


def scores(logits: np.ndarray, scale: float) -> np.ndarray:
    """softmax(logits · scale) over the last axis, float64."""
    powers = np.exp((logits.astype(np.float64) - logits.max(-1, keepdims=True)) * scale)
    return powers / powers.sum(-1, keepdims=True)
