"""`haarlequin benchmark`: images per second of the golden model or of training, for all presets or some."""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from haarlequin.models.common.cli import command, one_line_errors
from haarlequin.models.data import DataSet, Split
from haarlequin.models.golden import GoldenModel, threads
from haarlequin.models.presets import PRESETS, preset


def images_per_second(name: str, seconds: float = 3.0) -> float:
    """Images per second of the golden model of a preset, measured for about ``seconds``."""
    config = preset(name)
    golden = GoldenModel.blank(config)
    shape = (4 * golden.images_per_pass, *config.image, config.channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    golden(pixels[:1])
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        golden(pixels)
        done += len(pixels)
    return done / (time.perf_counter() - start)


def training(name: str, batch: int, device: str, seconds: float) -> Iterator[tuple[str, dict[str, float]]]:
    """(how, images per second of each phase) of a preset's training steps: single operations with Brevitas'
    quantisers, the same with plain functions, and compiled blocks, which on a GPU are part of one CUDA graph.
    """
    # A person beside a board has no PyTorch, and times the golden model only.
    from haarlequin.models.training.computer import Computer, open_device
    from haarlequin.models.training.recipe import RECIPES
    from haarlequin.models.training.run import Run
    from haarlequin.models.training.speed import measure

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


@command
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="haarlequin benchmark", description="Time the integer model.")
    parser.add_argument("preset", nargs="*", default=list(PRESETS), help="default: all of them")
    parser.add_argument("--train", action="store_true", help="time training steps: before, and after")
    parser.add_argument("--batch", type=int, default=64, help="images per training step (default: 64)")
    parser.add_argument("--device", default="auto", help="cpu, cuda … (default: a GPU if there is one)")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each training figure (default: 10)")
    arguments = parser.parse_args(argv)
    with one_line_errors(verbose=False):
        for name in arguments.preset:
            if not arguments.train:
                print(f"{name}: {images_per_second(name):.0f} images/s on {threads()} threads", flush=True)
                continue
            for how, rates in training(name, arguments.batch, arguments.device, arguments.seconds):
                figures = ", ".join(f"{phase} {rate:.0f}" for phase, rate in rates.items())
                print(f"{name}, {how}: {figures} images/s", flush=True)
