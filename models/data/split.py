"""The result of every loader: images in memory as uint8, with their classes or masks, in three splits."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from haarlequin.models.common.errors import UsageError


class DataError(UsageError, ValueError):
    """A data set that is missing or cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Split:
    """Images with their classes or their masks."""

    pixels: np.ndarray
    """uint8 (n, H, W, channels)"""
    labels: np.ndarray
    """int64 (n,), the class of each image; or masks, uint8 (n, H, W), the class of each pixel, which is
    `models.segmentation.IGNORE` where it has none."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def has_masks(self) -> bool:
        """Whether the labels are masks."""
        return self.labels.ndim == 3

    def take(self, indices: np.ndarray) -> "Split":
        """The images of these indices, with their labels."""
        return Split(self.pixels[indices], self.labels[indices])


@dataclass(frozen=True)
class DataSet:
    """``train`` to learn from, ``validation`` for choices, ``test`` read once for each published figure.

    Labels are indices into ``classes``, the names.
    """

    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...] = ()


VALIDATION_IMAGES = 5000
"""Number of training images that are held out for validation, unless a tenth of them is less."""


def hold_out(train: Split, test: Split, classes: tuple[str, ...]) -> DataSet:
    """The data set of two published splits. Its validation images are taken from ``train``, always the same
    ones and, where the images have classes, stratified. Raises `DataError` where there are too few.
    """
    if train.has_masks:
        if len(train) < 2:
            raise DataError("too few training images: at least two are needed")
        train, validation = _parted(train, max(1, min(VALIDATION_IMAGES, len(train) // 10)))
        return DataSet(train, validation, test, classes)
    count = max(len(classes), min(VALIDATION_IMAGES, len(train) // 10))
    if len(train) < 2 * len(classes) or np.bincount(train.labels, minlength=len(classes)).min() < 2:
        raise DataError("too few training images: at least two of each class are needed")
    train, validation = stratified(train, count)
    return DataSet(train, validation, test, classes)


def stratified(split: Split, count: int) -> tuple[Split, Split]:
    """(the rest, ``count`` images), each class in the same proportion in both; always the same."""
    return _parted(split, count, split.labels)


def _parted(split: Split, count: int, classes: np.ndarray | None = None) -> tuple[Split, Split]:
    rest, taken = train_test_split(range(len(split)), test_size=count, stratify=classes, random_state=0)
    return split.take(rest), split.take(taken)
