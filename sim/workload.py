"""The model to simulate, as the compiler reads it, and the images for it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from haarlequin.models import data
from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.pictures import convert
from haarlequin.models.config import ModelConfig
from haarlequin.models.golden import GoldenModel
from haarlequin.models.onnx.graph import export
from haarlequin.models.presets import override, preset
from haarlequin.sw.compiler.read import read, read_model
from haarlequin.sw.resolve import golden_model, trained

TRAINED = "trained weights"

DRAWINGS = Path(__file__).with_name("drawings")
"""Drawings of things that networks for CIFAR-10 know, each file with the name of its class. They show such a
network at work where nobody has fetched its data set.
"""


@dataclass(frozen=True)
class Workload:
    """A model and images for it; ``labels`` where they are real ones."""

    name: str
    model: GoldenModel
    pixels: np.ndarray
    labels: np.ndarray | None
    kind: str
    """The kind of its weights and images, in words."""


def workload(name: str, settings: list[str], count: int | None, images: Path | None = None) -> Workload:
    """The model of that name, as the compiler reads its ONNX graph, and the first ``count`` images.

    Arguments:
        name: an ONNX file, or a preset. A preset stands for its trained model if there is one, and otherwise
            for random weights.
        settings: override a preset's configuration; its weights are then random.
        count: how many images; by default 16 test images, all drawings, or one random image.
        images: folder of a trained model's data set. Without it, a model that needs one gets `DRAWINGS`, or
            random images where it does not know these things, or is to have more of them.

    Raises `UsageError` where these do not go together.
    """
    if name.endswith(".onnx"):
        if settings:
            raise UsageError("an ONNX file has its configuration: --set is for presets")
        model, weights, real = read(Path(name)), "weights of the file", False
    elif trained(name) and not settings:
        model, weights = golden_model(name), TRAINED
        real = images is not None or name in data.BUNDLED
    else:
        from haarlequin.models.network.freeze import freeze  # it imports PyTorch
        from haarlequin.models.network.random_model import random_model

        random = export(freeze(random_model(override(preset(name), settings), seed=0)))
        model, weights, real = read_model(random), "random weights", False
    if images and not real:
        raise UsageError(f"--data is for trained models, and {name} has {weights}")
    if not real:
        drawn = _drawings(model.config) if weights == TRAINED else []
        if drawn and (count or 1) <= len(drawn):
            return _of_drawings(name, model, drawn[:count])
        pixels = _random_images(model.config, count or 1)
        kind = f"{weights}, {_counted(len(pixels), 'random image')}"
        return Workload(Path(name).stem, model, pixels, None, kind)
    test = data.load(model.config, images).test
    count = min(16 if count is None else count, len(test))
    kind = f"{weights}, {_counted(count, 'test image')}"
    return Workload(name, model, test.pixels[:count], test.labels[:count], kind)


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'s' if count != 1 else ''}"


def _drawings(config: ModelConfig) -> list[Path]:
    """The drawings of classes of a model."""
    if config.segmentation:
        return []
    return [path for path in sorted(DRAWINGS.iterdir()) if path.stem in config.classes]


def _of_drawings(name: str, model: GoldenModel, drawn: list[Path]) -> Workload:
    config = model.config
    pixels = np.stack([convert(path, *config.image, config.channels)[0] for path in drawn])
    labels = np.array([config.classes.index(path.stem) for path in drawn])
    return Workload(name, model, pixels, labels, f"{TRAINED}, {_counted(len(drawn), 'drawing')}")


def _random_images(config: ModelConfig, count: int) -> np.ndarray:
    shape = count, *config.image, config.channels
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)
