"""The lines that `infer` prints, one for each image and a summary of all, for a person or for a program."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from haarlequin.models.common.errors import printable
from haarlequin.models.config import ModelConfig
from haarlequin.sw.accelerator import Accelerator, answer_shares
from haarlequin.sw.devices import Benchmark, Result


@dataclass(frozen=True)
class Item:
    """An image to classify, and its true class where it is known."""

    path: str
    image: np.ndarray | Path
    target: int | None


@dataclass
class Tally:
    """Counts the results of a run."""

    began: float = field(default_factory=time.perf_counter)
    first: float = 0.0
    """When the device got its first image."""
    latency: float = 0.0
    """Seconds from then until its answer came."""
    answered: int = 0
    refused: int = 0
    """The number of images, and of names without images, that could not be used."""
    known: int = 0
    """The number of answered images whose true class is known."""
    right: int = 0
    """The number of those that got their true class as label."""
    differing: int = 0
    """The number of answers that differ from the golden model's."""
    cycles: int = 0
    settled: set[str] = field(default_factory=set)
    """The paths of images that were answered or could not be used. A device that fails leaves the others."""

    def add(self, item: Item, result: Result) -> None:
        """Count an image with its result."""
        self.latency = self.latency or time.perf_counter() - self.first
        self.answered += 1
        self.settled.add(item.path)
        self.cycles += result.cycles
        if item.target is not None:
            self.known += 1
            self.right += int(result.labels) == item.target


def listed(shares: Sequence[tuple[int, float]], classes: Sequence[str]) -> str:
    """The names of classes with their shares, as one line."""
    return ", ".join(f"{classes[i]} {share:.1%}" for i, share in shares)


def as_object(config: ModelConfig, result: Result, logits: bool) -> dict:
    """A result as an object of JSON: ``label`` and ``index``, or the ``tokens`` of a segmentation model, and
    ``cycles`` where there are any.

    Arguments:
        config: the model's configuration.
        logits: whether it has ``logits``, too.
    """
    labels = result.labels
    if config.segmentation:
        entry: dict = {"tokens": labels.reshape(config.grids[-1]).tolist()}
    else:
        entry = {"label": config.classes[labels], "index": int(labels)}
    entry |= {"logits": result.logits.tolist()} if logits else {}
    return entry | ({"cycles": result.cycles} if result.cycles else {})


class Report:
    """Prints each image and the summary, for a person or for a program."""

    def __init__(self, accelerator: Accelerator, arguments: argparse.Namespace, total: int):
        self._accelerator, self._json, self._top = accelerator, arguments.json, arguments.top or 1
        self._logits = arguments.logits or not accelerator.model_config.segmentation
        self._bar = tqdm(total=total, unit=" images", disable=None, leave=False, delay=1, smoothing=0.1)
        self._noted = False

    def progress(self, done: int, total: int) -> None:
        """Move the progress bar to ``done`` of ``total``."""
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def image(self, item: Item, result: Result, benchmark: Benchmark | None = None) -> None:
        """Print one line for an image, and another one for what it took to compute it many times."""
        config = self._accelerator.model_config
        classes = config.classes
        cycles_predicted = bool(result.cycles) and self._accelerator.device.predicts
        if self._json:
            entry = {"path": item.path} | as_object(config, result, self._logits)
            entry |= {"target": item.target} if item.target is not None else {}
            if benchmark:
                facts = {name: getattr(benchmark, name) for name in ("images", "cycles", "clock_hz")}
                entry["benchmark"] = facts | {"images_per_second": round(benchmark.images_per_second, 1)}
            self._print(json.dumps(entry | ({"cycles_predicted": True} if cycles_predicted else {})))
        else:
            truth, shares = "", answer_shares(result, len(classes), config.logit_scale, self._top)
            if item.target is not None and item.target != shares[0][0]:
                truth = f" (it is {classes[item.target]})"
            said = listed(shares, classes) + truth
            cycles = f", {result.cycles} cycles{' predicted' if cycles_predicted else ''}" * bool(
                result.cycles
            )
            self._print(printable(f"{item.path}: {said}{cycles}"))
            if benchmark:
                self._print(
                    f"{benchmark.images} times: {benchmark.cycles / benchmark.images:,.1f} cycles an image, "
                    f"{benchmark.images_per_second:,.1f} images/s at {benchmark.clock_hz / 1e6:g} MHz"
                )
        if benchmark:
            self._bar.close()
        else:
            self._bar.update()

    def note(self, path: str, note: str) -> None:
        """Say how an image was converted to fit the model; only for the first such image."""
        if not self._noted:
            self.error(f"{path}: {note}; others are converted likewise", prefix="")
        self._noted = True

    def error(self, message: str, prefix: str = "error: ") -> None:
        """Print a line on stderr, above the progress bar."""
        with tqdm.external_write_mode(sys.stderr):
            print(printable(f"{prefix}{message}"), file=sys.stderr, flush=True)

    def skip(self) -> None:
        """Move the progress bar past an image that cannot be used."""
        self._bar.update()

    def end(self, tally: Tally, checked: bool) -> str:
        """Print the summary, which is also returned; with JSON it goes to stderr."""
        self._bar.close()
        parts = [f"{tally.answered} image{'' if tally.answered == 1 else 's'}"]
        if tally.known:
            parts.append(f"{tally.right / tally.known:.2%} right ({tally.right} of {tally.known})")
        if tally.answered:
            word = " predicted" if self._accelerator.device.predicts else ""
            if tally.cycles:
                parts.append(f"{tally.cycles / tally.answered:.0f} cycles an image{word}")
            parts.append(f"{tally.answered / (time.perf_counter() - tally.began):.1f} images/s")
            parts.append(f"{1e3 * tally.latency:,.1f} ms for the first")
        if checked:
            same = tally.answered - tally.differing
            parts.append(f"{same} of {tally.answered} equal to the golden model")
        if tally.refused:
            parts.append(f"{tally.refused} could not be used")
        summary = ", ".join(parts)
        print(summary, file=sys.stderr if self._json else sys.stdout, flush=True)
        return summary

    def _print(self, line: str) -> None:
        with tqdm.external_write_mode(sys.stdout):
            print(line, flush=True)
