"""Images with masks, the class of each pixel: `train/images/…` and `train/masks/…`, likewise `test`.

They are a folder, a tar archive of one, or a folder of such archives, as `entries.py` reads them. The mask of
`images/a/1.jpg` is `masks/a/1.png`, of the same size.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from haarlequin.models.common.errors import ConfigError
from haarlequin.models.common.pictures import PictureError, convert, convert_mask, size_of
from haarlequin.models.config import check_classes, placeholders
from haarlequin.models.data.entries import Entry, entries, read_through, tell_passed_over
from haarlequin.models.data.split import DataError, Split
from haarlequin.models.segmentation import IGNORE

IMAGES, MASKS = FOLDERS = ("images", "masks")
"""The folders of a split."""

NAMES = "classes.txt"
"""The file beside the splits with one class per line: the first is that of the pixels with value 0."""

VOID = ("void", "unlabelled", "unlabeled", "ignore")
"""Names of a class that is none: its pixels are ignored."""


class _Picture(NamedTuple):
    """An image or a mask, decoded."""

    name: str
    pixels: np.ndarray
    size: tuple[int, int]
    """Width and height that it had."""


def read_masks(
    path: Path, image: tuple[int, int], channels: int
) -> tuple[Split, Split | None, Split, tuple[str, ...]]:
    """(train, validation, test, class names) of images with masks, in the order of their paths. Where there
    is only one of validation and test, it is the test split.

    Images go through `models.common.pictures.convert`, and masks through its `convert_mask`. The classes are
    those of `NAMES`, in that order and without those of `VOID`; without that file they have placeholder
    names. Pixels of the value `IGNORE` are ignored in any case. Files elsewhere are passed over, as
    `folder.read_splits` does it. Raises `DataError` where an image has no mask or a mask no image, where they
    differ in size, where a mask has a value without a class, or as `folder.read_splits` does.
    """
    found: dict[str, dict[str, dict[str, _Picture]]] = {
        split: {folder: {} for folder in FOLDERS} for split in ("train", "validation", "test")
    }

    def decode(entry: Entry, content: bytes) -> tuple[Entry, bytes | _Picture | PictureError]:
        try:
            if entry.folder == IMAGES:
                return entry, _Picture(entry.name, convert(content, *image, channels)[0], size_of(content))
            if entry.folder == MASKS:
                return entry, _Picture(entry.name, *convert_mask(content, *image))
            return entry, content
        except PictureError as error:
            return entry, PictureError(f"{entry.name}: {error}")

    names: tuple[str, ...] | None = None
    passed, refused = Counter[str](), list[str]()
    with tqdm(desc=f"reading {path.name}", unit=" pictures", leave=False, disable=None) as bar:
        for entry, came in read_through(entries(path, passed, NAMES), decode):
            bar.update()
            if isinstance(came, PictureError):
                refused.append(str(came))
            elif isinstance(came, _Picture):
                _add(found[entry.split][entry.folder], entry, came)
            elif entry.split:
                passed[f"in no {IMAGES} or {MASKS}"] += 1
            else:
                names = _names(entry.name, came)
    if not found["train"][MASKS] and not refused:
        raise DataError(f"{path} has no masks: they are looked for in train/{MASKS}/, of train/{IMAGES}/")
    tell_passed_over(path, passed)
    if refused:
        count = sum(len(pictures) for split in found.values() for pictures in split.values()) + len(refused)
        first = f"{len(refused):,} of {count:,} pictures cannot be used, the first: {refused[0]}"
        raise DataError(f"{path}: {first}")
    if not found["test"][IMAGES]:
        found["test"], found["validation"] = found["validation"], found["test"]
    if not found["test"][IMAGES]:
        raise DataError(f"{path} has no test images: they are looked for in test/{IMAGES}/")
    splits = {name: _paired(path, split) for name, split in found.items() if split[IMAGES] or split[MASKS]}
    classes, order = _numbering(splits, names)
    for name, split in splits.items():
        splits[name] = _renumbered(split, order, found[name][MASKS], len(names or classes))
    return splits["train"], splits.get("validation"), splits["test"], classes


def _add(pictures: dict[str, _Picture], entry: Entry, picture: _Picture) -> None:
    """Add a picture under its path without its suffix."""
    before = pictures.setdefault(PurePosixPath(entry.below).with_suffix("").as_posix(), picture)
    if before is not picture:
        raise DataError(f"{before.name} and {entry.name} have one name: which of them is meant?")


def _names(file: str, content: bytes) -> tuple[str, ...]:
    """The names of all classes in a file of `NAMES`, those of `VOID` included."""
    try:
        names = tuple(line.strip() for line in content.decode().rstrip().split("\n"))
        check_classes(names)
    except (UnicodeDecodeError, ConfigError) as error:
        raise DataError(f"{file} must name one class per line: {error}") from None
    if len(names) > IGNORE or len({*names}) < len(names):
        raise DataError(f"{file} must name at most {IGNORE} classes, once each")
    return names


def _paired(path: Path, pictures: Mapping[str, Mapping[str, _Picture]]) -> Split:
    """The images of a split with their masks."""
    images, masks = pictures[IMAGES], pictures[MASKS]
    for own, others, what in ((images, masks, "mask"), (masks, images, "image")):
        if lonely := sorted(own.keys() - others.keys()):
            count = f" ({len(lonely):,} have none)" if len(lonely) > 1 else ""
            raise DataError(f"{own[lonely[0]].name} has no {what}{count}")
    pairs = [(images[key], masks[key]) for key in sorted(images)]
    for image, mask in pairs:
        if image.size != mask.size:
            (w, h), (width, height) = mask.size, image.size
            raise DataError(f"{mask.name} has {w}×{h} pixels, its image {width}×{height}: they must be equal")
    return Split(np.stack([image.pixels for image, _ in pairs]), np.stack([mask.pixels for _, mask in pairs]))


def _numbering(
    splits: Mapping[str, Split], names: tuple[str, ...] | None
) -> tuple[tuple[str, ...], np.ndarray]:
    """(class names, the class of each of 256 values, or `IGNORE`)."""
    if names is None:
        values = np.concatenate([split.labels for split in splits.values()])
        names = placeholders(max(2, 1 + int(values[values != IGNORE].max(initial=0))))
    classes = tuple(name for name in names if name.lower() not in VOID)
    order = np.full(256, IGNORE, np.uint8)
    for value, name in enumerate(names):
        if name in classes:
            order[value] = classes.index(name)
    return classes, order


def _renumbered(split: Split, order: np.ndarray, masks: Mapping[str, _Picture], values: int) -> Split:
    """``split`` with classes in place of the values in its masks, of which there are ``values``."""
    unknown = ((split.labels >= values) & (split.labels != IGNORE)).any((1, 2))
    if unknown.any():
        at = int(unknown.argmax())
        picture = masks[sorted(masks)[at]]
        value = picture.pixels[(picture.pixels >= values) & (picture.pixels != IGNORE)][0]
        raise DataError(f"{picture.name} has the value {value}, but {NAMES} has {values} classes, from 0 on")
    return Split(split.pixels, order[split.labels])
