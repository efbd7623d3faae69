"""Data sets: decoded once into memory as uint8, split into training, validation and test."""

from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

from .errors import UsageError


class DataError(UsageError, ValueError):
    """No such data set, or not where it was said to be; the message says what to do."""


@dataclass(frozen=True)
class Split:
    """Images with their classes: pixels (n, H, W, channels) uint8, labels (n,) int64."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> "Split":
        """Those images."""
        return Split(self.pixels[indices], self.labels[indices])


@dataclass(frozen=True)
class DataSet:
    """``train`` to learn from, ``validation`` for choices, ``test`` read once for each published figure."""

    train: Split
    validation: Split
    test: Split


def digits() -> DataSet:
    """scikit-learn's 1,797 handwritten digits of 8×8, grey values 0 to 16 as min(255, 16·v).

    Stratified and fixed: 360 test images (20 %) first, then 144 of the other 1,437 for validation.
    """
    data = load_digits()
    pixels = torch.from_numpy(data.images * 16).clamp(max=255).to(torch.uint8)[..., None]
    whole = Split(pixels, torch.from_numpy(data.target).long())
    train, test = _stratified(whole, 360)
    train, validation = _stratified(train, 144)
    return DataSet(train, validation, test)


def _stratified(split: Split, count: int) -> tuple[Split, Split]:
    """(the rest, ``count`` images), classes in equal shares; always the same."""
    rest, taken = train_test_split(range(len(split)), test_size=count, stratify=split.labels, random_state=0)
    return split.take(torch.tensor(rest)), split.take(torch.tensor(taken))


LOADERS = {"digits": digits}


def load(preset: str) -> DataSet:
    """The data set that a preset is trained on; raises `DataError`."""
    if preset not in LOADERS:
        raise DataError(f"no data set for preset {preset!r} yet: training works for {', '.join(LOADERS)}")
    return LOADERS[preset]()
