"""Images per second of training, one way after the other: `haarlequin benchmark --train`."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from haarlequin.models.data import DataSet, Split
from haarlequin.models.presets import preset
from haarlequin.models.training.computer import Computer, open_device
from haarlequin.models.training.recipe import RECIPES
from haarlequin.models.training.run import Run
from haarlequin.models.training.speed import measure


def training(name: str, batch: int, device: str, seconds: float) -> Iterator[tuple[str, dict[str, float]]]:
    """(how, images per second of each phase) of a preset's training steps: single operations with Brevitas'
    quantisers, the same with plain functions, and compiled blocks, which on a GPU are part of one CUDA graph.
    """
    opened = open_device(device)
    gpu = opened.type == "cuda"
    recipe, data = replace(RECIPES[name], batch=batch), _noise(name, batch)
    after = Computer(opened, bfloat16=gpu, compile=True)
    plain = replace(after, compile=False, graph=False)
    kinds = {
        "Brevitas' quantisers": replace(plain, plain=False),
        "plain functions": plain,
        "one CUDA graph" if gpu else "compiled blocks": after,
    }
    for how, computer in kinds.items():
        with TemporaryDirectory() as folder:
            speeds = measure(Run(preset(name), recipe, data, Path(folder), computer=computer), seconds)
        yield how, {phase: batch / speed.step for phase, speed in speeds.items()}


def _noise(name: str, images: int) -> DataSet:
    """Images of noise, in the preset's size."""
    config = preset(name)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (images, *config.image, config.channels), np.uint8)
    labels = random.integers(0, len(config.classes), images)
    if config.segmentation:
        labels = random.integers(0, len(config.classes), (images, *config.image), np.uint8)
    split = Split(pixels, labels)
    return DataSet(split, split, split, config.classes)
