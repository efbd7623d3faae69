"""Figures of this computer's processor: the golden model, onnxruntime and PyTorch on the same images."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from tqdm import tqdm

from haarlequin.models.common.errors import OneLine
from haarlequin.models.golden import threads
from haarlequin.models.onnx.runtime import session
from haarlequin.models.presets import preset
from haarlequin.sim.benchmark.figure import rate
from haarlequin.sw.resolve import golden_model, trained

IMAGES = 32
"""Images of a round: four passes of the golden model."""

ROUNDS = 5
"""In each round every way computes the images once, one way after the other, so that other work on the
computer slows all of them."""

GOLDEN = "golden"
"""The way that the others are compared with."""

Way: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""A function from pixels, uint8 (n, H, W, channels), to logits, int64."""


class Differs(OneLine):
    """Two ways gave other logits for the same images."""


@dataclass(frozen=True)
class ComputerFigures:
    """Images in a second of a model on this computer, by the way it is computed, and of arrays beside it."""

    model: str
    rates: Mapping[str, float]
    arrays: Mapping[str, float]
    """By the name of a board, images in a second that its accelerator computes."""

    def __str__(self) -> str:
        count = threads()
        title = f"this computer: {self.model}, {IMAGES} images with equal logits, "
        title += f"{count} thread{'s' if count > 1 else ''}, medians of {ROUNDS} rounds"
        heads = ["images/s", "of golden", *(f"of {board}" for board in self.arrays)]
        lines = [title, f"  {'':<14}" + "".join(f"{head:>18}" for head in heads)]
        for way, images in self.rates.items():
            ratios = "".join(f"{ratio:>18.3g}" for ratio in self._ratios(images).values())
            lines.append(f"  {way:<14}{rate(images):>18}{ratios}")
        return "\n".join(lines)

    def _ratios(self, images: float) -> dict[str, float]:
        """``images`` in a second, as shares of the golden model's and of each array's."""
        return {name: images / other for name, other in {GOLDEN: self.rates[GOLDEN], **self.arrays}.items()}

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        ways = {
            way: {"images_per_second": images, "of": self._ratios(images)}
            for way, images in self.rates.items()
        }
        return {"threads": threads(), "images": IMAGES, "rounds": ROUNDS, "ways": ways}


def ways(name: str) -> dict[str, Way]:
    """The ways to compute a trained model, or a preset with random weights: all on `threads` threads."""
    import torch

    from haarlequin.models.network import checkpoint
    from haarlequin.models.network.freeze import freeze
    from haarlequin.models.network.random_model import random_model
    from haarlequin.models.onnx.graph import export

    if path := trained(name):
        golden, network = golden_model(name), checkpoint.load(path.with_name("model.safetensors"))
        run = session(path, threads()).run
    else:
        network = random_model(preset(name), seed=0)
        golden = freeze(network)
        run = session(export(golden).SerializeToString(), threads()).run
    torch.set_num_threads(threads())  # it would otherwise take as many as the processor has whole cores

    def pytorch(pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network.integer_logits(torch.from_numpy(pixels)).numpy()

    return {
        GOLDEN: golden,
        "onnxruntime": lambda pixels: run(["logits"], {"pixels": pixels})[0],
        "PyTorch": pytorch,
    }


def measure(
    ways: Mapping[str, Way], pixels: np.ndarray, rounds: int = ROUNDS, name: str = ""
) -> dict[str, float]:
    """Images in a second of each way, the median of interleaved rounds, after one that is not counted.

    Raises `Differs` where a way gives other logits than the golden model.
    """
    expected = ways[GOLDEN](pixels)
    for way, compute in ways.items():
        if not np.array_equal(compute(pixels), expected):
            raise Differs(f"{name}: {way} gives other logits than the golden model")
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in tqdm(range(rounds), unit=" rounds", desc=name, disable=None, leave=False, delay=1):
        for way, compute in ways.items():
            began = time.perf_counter()
            compute(pixels)
            seconds[way].append(time.perf_counter() - began)
    return {way: len(pixels) / statistics.median(found) for way, found in seconds.items()}


def figures_of(name: str, arrays: Mapping[str, float]) -> ComputerFigures:
    """The figures of a trained model or preset, beside those of ``arrays`` that compute it."""
    config = preset(name)
    shape = (IMAGES, *config.image, config.channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return ComputerFigures(name, measure(ways(name), pixels, name=name), arrays)
