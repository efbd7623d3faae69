"""From a class for each token to a mask, and how good it is, in integers.

A segmentation network answers one class per token of its last grid. The host enlarges the answer to the image
by nearest neighbour, so that every pixel of a token's cell gets the token's class.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

IGNORE = 255
"""The value of those pixels of a mask that have no class: they are neither learned from nor counted."""

Array = Any
"""An array of numpy or PyTorch."""

Size = tuple[int, int]
"""Rows and columns, of tokens or of pixels."""


def enlarge(tokens: np.ndarray, grid: Size, image: Size) -> np.ndarray:
    """Masks (…, H, W), uint8, of the class of each token (…, N), row by row; ``image`` is a multiple of the
    ``grid``, in both directions.
    """
    masks = tokens.reshape(*tokens.shape[:-1], *grid).astype(np.uint8)
    for axis, size, count in ((-2, image[0], grid[0]), (-1, image[1], grid[1])):
        masks = masks.repeat(size // count, axis)
    return masks


def cell_counts(masks: Array, grid: Size, classes: int) -> Array:
    """How many pixels each class has in the cell of each token: (n, N, classes) of masks (n, H, W).

    Pixels of the value `IGNORE` count for no class. ``masks`` are of numpy or PyTorch.
    """
    xp = array_namespace(masks)
    (count, height, width), (rows, columns) = masks.shape, grid
    numbers = xp.arange(classes, dtype=masks.dtype, device=device(masks))
    cells = xp.reshape(masks, (count, rows, height // rows, columns, width // columns, 1))
    found = xp.sum(xp.astype(cells == numbers, xp.int64), axis=(2, 4))
    return xp.reshape(found, (count, rows * columns, classes))


def vote(masks: np.ndarray, grid: Size, classes: int) -> np.ndarray:
    """The class (n, N) that has most pixels in the cell of each token; of several, the first. `IGNORE` where
    no pixel has a class.
    """
    counts = cell_counts(masks, grid, classes)
    return np.where(counts.any(-1), counts.argmax(-1), IGNORE).astype(np.uint8)


def centre(masks: np.ndarray, grid: Size, classes: int) -> np.ndarray:
    """The class (n, N) of the pixel in the centre of each token's cell: of two or four, the last one. Where
    that pixel has no class, it is the `vote` of the cell.
    """
    count, height, width = masks.shape
    rows, columns = height // grid[0], width // grid[1]
    middle = masks[:, rows // 2 :: rows, columns // 2 :: columns].reshape(count, -1)
    return np.where(middle == IGNORE, vote(masks, grid, classes), middle)


def confusion(truth: np.ndarray, answer: np.ndarray, classes: int) -> np.ndarray:
    """Pixels by true class (rows) and answered class (columns), int64, without those whose truth is `IGNORE`.

    Both are masks of one shape; every pixel of ``answer`` has a class.
    """
    known = truth != IGNORE
    pairs = truth[known].astype(np.int64) * classes + answer[known]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def constant(masks: np.ndarray, grid: Size, classes: int) -> np.ndarray:
    """The best answer (N,) that does not look at the image: of each token, the class with most pixels in its
    cell over all ``masks`` (n, H, W).
    """
    counts = sum(cell_counts(masks[i : i + 64], grid, classes).sum(0) for i in range(0, len(masks), 64))
    return np.asarray(counts).argmax(-1)


def score(tokens: np.ndarray, truth: np.ndarray, grid: Size, classes: int) -> "Score":
    """How good the classes of tokens (n, N) are, enlarged to the masks ``truth`` (n, H, W)."""
    height, width = truth.shape[1:]
    return Score(confusion(truth, enlarge(tokens, grid, (height, width)), classes))


@dataclass(frozen=True)
class Score:
    """How good masks are, from their `confusion`."""

    cells: np.ndarray
    """int64 (classes, classes): pixels by true class and answered class."""

    @property
    def hits(self) -> np.ndarray:
        """int64 (classes,), the pixels that got their class."""
        return self.cells.diagonal()

    @property
    def unions(self) -> np.ndarray:
        """int64 (classes,), the pixels that have a class or were answered it."""
        return self.cells.sum(0) + self.cells.sum(1) - self.hits

    @property
    def occurs(self) -> np.ndarray:
        """bool (classes,), whether any pixel has the class."""
        return self.cells.any(1)

    @property
    def iou(self) -> np.ndarray:
        """float64 (classes,), intersection over union; NaN for a class that does not occur."""
        return np.where(self.occurs, self.hits / np.maximum(self.unions, 1), np.nan)

    @property
    def mean_iou(self) -> float:
        """The mean of `iou` over the classes that occur."""
        return float(self.iou[self.occurs].mean()) if self.occurs.any() else 0.0

    @property
    def accuracy(self) -> float:
        """Proportion of the pixels that got their class."""
        return int(self.hits.sum()) / max(1, int(self.cells.sum()))
