"""`haarlequin evaluate MODEL`: count the test images that a model labels right, in integers.

Of a segmentation model it is the intersection over union of each class, from counts of pixels. Beside that
are answers that need no model: the best that its grid of tokens can say, and some that ignore the image.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from haarlequin.models import data
from haarlequin.models.common.cli import command, one_line_errors
from haarlequin.models.common.errors import UsageError, printable
from haarlequin.models.config import ModelConfig
from haarlequin.models.presets import PRESETS
from haarlequin.models.segmentation import Score, centre, constant, score, vote
from haarlequin.sw.resolve import golden_model

BATCH = 64
"""Images between two steps of the progress bar."""


def evaluate(name: str, folder: Path | None) -> str:
    """How good a model is on its test images, for each class and for all, as text: the share of right labels,
    or of masks the intersection over union.

    ``folder`` has the data set; `digits` needs none. Raises `UsageError` where the model or the data set is
    not there.
    """
    model = golden_model(name)
    config = model.config
    if folder is None and config.name not in data.BUNDLED:
        raise UsageError(f"name the folder of the images that {config.name} was trained on, with --data DIR")
    found, classes = data.load(config, folder), config.classes
    test = found.test
    began, guesses = time.perf_counter(), list[np.ndarray]()
    with tqdm(total=len(test), unit=" images", disable=None, leave=False, delay=1) as bar:
        for start in range(0, len(test), BATCH):
            guesses.append(model(test.pixels[start : start + BATCH]).argmax(-1))
            bar.update(len(guesses[-1]))
    answers, rate = np.concatenate(guesses), len(test) / (time.perf_counter() - began)
    if config.segmentation:
        return "\n".join(_of_masks(config, found, answers, rate))
    right = answers == test.labels
    width = max(map(len, classes))
    lines = [f"{name:<{width}}  {_share(right[test.labels == i])}" for i, name in enumerate(classes)]
    return "\n".join([*lines, "", f"{config.name}: {_share(right)}, in integers; {rate:.0f} images/s"])


def _of_masks(config: ModelConfig, found: data.DataSet, answers: np.ndarray, rate: float) -> list[str]:
    """The lines of a segmentation model, whose ``answers`` are a class for each token."""
    whole = score(answers, found.test.labels, config.grids[-1], len(config.classes))
    lines = [*zip(config.classes, whole.hits.tolist(), whole.unions.tolist(), whole.occurs, strict=True)]
    width = max(map(len, config.classes))
    return [
        *(
            f"{name:<{width}}  {_iou(hits, union) if there else 'in no mask'}"
            for name, hits, union, there in lines
        ),
        "",
        f"{config.name}: {_masks(whole)}, in integers; {rate:.0f} images/s",
        *_references(config, found),
    ]


def references(name: str, folder: Path | None) -> str:
    """How good masks are that need no model, on the test images in ``folder``: the best that the tokens of
    a segmentation model, or of a preset, can say, and answers that ignore the image.

    Raises `UsageError` where ``name`` is that of another network, or the data set is not there.
    """
    config = PRESETS[name] if name in PRESETS else golden_model(name).config
    if not config.segmentation:
        raise UsageError(f"--references needs a segmentation network: {config.name} has no masks")
    return "\n".join(_references(config, data.load(config, folder)))


def _references(config: ModelConfig, found: data.DataSet) -> list[str]:
    """Lines of answers that no model gives, the best one first."""
    truth, grid, classes = found.test.labels, config.grids[-1], found.classes
    known = found.train.labels
    commonest = int(np.bincount(known.ravel(), minlength=256)[: len(classes)].argmax())
    alike = constant(known, grid, len(classes))
    rows, columns = grid
    answers = {
        f"the class with most pixels in each of {rows}×{columns} cells": vote(truth, grid, len(classes)),
        "the class of the pixel in the centre of each": centre(truth, grid, len(classes)),
        "the same mask for every image": np.broadcast_to(alike, (len(truth), len(alike))),
        f"{classes[commonest]!r} for every pixel": np.full((len(truth), len(alike)), commonest),
    }
    return [f"{name}: {_masks(score(said, truth, grid, len(classes)))}" for name, said in answers.items()]


def _iou(hits: int, union: int) -> str:
    return f"{hits / union:.2%} IoU ({hits} of {union} pixels)"


def _masks(score: Score) -> str:
    hits, pixels = score.hits.sum(), score.cells.sum()
    return f"mean IoU {score.mean_iou:.2%}, {score.accuracy:.2%} of pixels right ({hits} of {pixels})"


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
    parser.add_argument(
        "--references",
        action="store_true",
        help="only the masks that need no model, on the grid of MODEL, which may be a preset",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    arguments = parser.parse_args(argv)
    with one_line_errors(arguments.verbose):
        say = references if arguments.references else evaluate
        print(_printable_lines(say(arguments.model, arguments.data)))


def _printable_lines(text: str) -> str:
    """Make every line printable, because the names of classes come from files."""
    return "\n".join(map(printable, text.split("\n")))
