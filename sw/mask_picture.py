"""A mask as a picture: the image as the network saw it, its mask in colours beside it, and a legend below."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from haarlequin.models.common.files import replacing

_WIDTH = 256
"""Image and mask are enlarged, by a whole number, to at least so many pixels each."""

_MARGIN, _SWATCH = 8, 14


def colours(count: int) -> np.ndarray:
    """A colour for each of ``count`` classes, uint8 (count, 3), each as different from white, from black and
    from all before it as one can be. The first ones are the same whatever the count.
    """
    steps = np.linspace(0, 255, 9).round()
    candidates = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    chosen = [np.zeros(3), np.full(3, 255.0)]
    nearest = np.minimum(*(_distance(candidates, colour) for colour in chosen))
    for _ in range(count):
        chosen.append(candidates[nearest.argmax()])
        nearest = np.minimum(nearest, _distance(candidates, chosen[-1]))
    return np.array(chosen[2:]).reshape(-1, 3).astype(np.uint8)


def _distance(colours: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How different colours look, squared: https://www.compuphase.com/cmetric.htm."""
    red = (colours[:, 0] + other[0]) / 2
    weights = np.stack([2 + red / 256, np.full_like(red, 4.0), 3 - red / 256], -1)
    return (weights * (colours - other) ** 2).sum(-1)


def shares(labels: np.ndarray, classes: int) -> list[tuple[int, float]]:
    """The classes that occur among ``labels``, integers of any shape, with their proportions of them, 0 to 1;
    the largest first. ``classes`` is how many there are.
    """
    counts = np.bincount(labels.ravel(), minlength=classes)
    order = np.argsort(-counts, kind="stable").tolist()
    return [(i, int(counts[i]) / labels.size) for i in order if counts[i]]


def draw(pixels: np.ndarray, mask: np.ndarray, classes: Sequence[str]) -> Image.Image:
    """The picture of ``pixels`` (H, W, 1 or 3) with its ``mask`` (H, W), both uint8.

    The legend has the classes of the mask, in their order, with their shares of it.
    """
    height, width = mask.shape
    scale = max(1, math.ceil(_WIDTH / width))
    palette = colours(len(classes))
    parts = [np.broadcast_to(pixels, (height, width, 3)), palette[mask]]
    font = ImageFont.load_default(_SWATCH)
    counts = np.bincount(mask.ravel(), minlength=len(classes))
    texts = [(i, f"{classes[i]:.60} {counts[i] / mask.size:.1%}") for i in np.flatnonzero(counts)]
    column = _SWATCH + 3 * _MARGIN + math.ceil(max(font.getlength(text) for _, text in texts))
    whole = max(2 * scale * width + 3 * _MARGIN, column + _MARGIN)
    columns = (whole - _MARGIN) // column
    row = _SWATCH + _MARGIN
    below = scale * height + 2 * _MARGIN
    rows = math.ceil(len(texts) / columns)
    picture = Image.new("RGB", (whole, below + rows * row), "white")
    for i, part in enumerate(parts):
        large = part.repeat(scale, 0).repeat(scale, 1)
        picture.paste(Image.fromarray(large), (_MARGIN + i * (scale * width + _MARGIN), _MARGIN))
    pen = ImageDraw.Draw(picture)
    for place, (class_, text) in enumerate(texts):
        left, top = _MARGIN + place % columns * column, below + place // columns * row
        pen.rectangle(
            (left, top, left + _SWATCH - 1, top + _SWATCH - 1), fill=tuple(palette[class_].tolist())
        )
        pen.text((left + _SWATCH + _MARGIN, top + _SWATCH // 2), text, "black", font, anchor="lm")
    return picture


def write(path: Path, pixels: np.ndarray, mask: np.ndarray, classes: Sequence[str]) -> None:
    """Write what `draw` draws as PNG, whole or not at all."""
    picture = draw(pixels, mask, classes)
    with replacing(path) as draft:
        picture.save(draft, "PNG")
