"""`haarlequin evaluate MODEL`: count the test images that a model labels right, in integers."""

import argparse
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from haarlequin.models import data
from haarlequin.models.common.cli import command, one_line_errors, printable
from haarlequin.models.common.errors import UsageError
from haarlequin.sw.resolve import golden_model

BATCH = 64
"""Images between two steps of the progress bar."""


def evaluate(name: str, folder: Path | None) -> str:
    """The share of right labels, for each class and for all images, as text.

    ``folder`` has the data set; `digits` needs none. Raises `UsageError` where the model or the data set is
    not there.
    """
    model = golden_model(name)
    config = model.config
    if folder is None and config.name not in data.BUNDLED:
        raise UsageError(f"name the folder of the images that {config.name} was trained on, with --data DIR")
    test, classes = data.load(config, folder).test, config.classes
    began, guesses = time.perf_counter(), list[np.ndarray]()
    with tqdm(total=len(test), unit=" images", disable=None, leave=False, delay=1) as bar:
        for start in range(0, len(test), BATCH):
            guesses.append(model(test.pixels[start : start + BATCH]).argmax(1))
            bar.update(len(guesses[-1]))
    right = np.concatenate(guesses) == test.labels
    rate = len(test) / (time.perf_counter() - began)
    width = max(map(len, classes))
    lines = [f"{name:<{width}}  {_share(right[test.labels == i])}" for i, name in enumerate(classes)]
    return "\n".join([*lines, "", f"{config.name}: {_share(right)}, in integers; {rate:.0f} images/s"])


def _share(right: np.ndarray) -> str:
    return f"{right.mean():.2%} right ({right.sum()} of {len(right)})"


@command
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="haarlequin evaluate", description="How many test images a model labels right, in integers."
    )
    parser.add_argument("model", metavar="MODEL", help="a trained model, an ONNX file or a checkpoint")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the model's data set, where it needs one")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    arguments = parser.parse_args(argv)
    with one_line_errors(arguments.verbose):
        print(_printable_lines(evaluate(arguments.model, arguments.data)))


def _printable_lines(text: str) -> str:
    """Make every line printable, because the names of classes come from files."""
    return "\n".join(map(printable, text.split("\n")))
