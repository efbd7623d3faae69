"""Image folders, `train/<class>/…` and `test/<class>/…`, as folders or in tar archives.

CIFAR-10, Tiny-ImageNet and ImageNet are available in this form, some with `val` instead of `test` and with an
`images` folder in each class.
"""

from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

from haarlequin.models.common.pictures import PictureError, convert
from haarlequin.models.data.entries import Entry, entries, read_through, tell_passed_over
from haarlequin.models.data.masks import FOLDERS
from haarlequin.models.data.split import DataError, Split


def read_splits(
    path: Path, image: tuple[int, int], channels: int
) -> tuple[Split, Split | None, Split, tuple[str, ...]]:
    """(train, validation, test, class names in alphabetic order) of a folder, a tar of one, or a folder of
    such tars. Where there is only one of validation and test, it is the test split.

    Every picture goes through `models.common.pictures.convert`. Hidden files and folders are ignored; a line
    on stderr says how many other files were passed over, and why. Raises `DataError` where a split or a class
    is missing, an archive is truncated or a picture cannot be used, or where the pictures have masks.
    """

    def decode(entry: Entry, content: bytes) -> tuple[Entry, np.ndarray | PictureError]:
        try:
            return entry, convert(content, *image, channels)[0]
        except PictureError as error:
            return entry, PictureError(f"{entry.name}: {error}")

    pixels: dict[str, list[np.ndarray]] = {"train": [], "validation": [], "test": []}
    names: dict[str, list[str]] = {split: [] for split in pixels}
    folders, passed, refused = set[str](), Counter[str](), list[str]()
    with tqdm(desc=f"reading {path.name}", unit=" images", leave=False, disable=None) as bar:
        for entry, came in read_through(entries(path, passed), decode):
            bar.update()
            folders.add(entry.folder)
            if isinstance(came, PictureError):
                refused.append(str(came))
                continue
            pixels[entry.split].append(came)
            names[entry.split].append(entry.folder)
    if folders == {*FOLDERS}:
        raise DataError(f"{path} has images with masks, no classes of images: choose a segmentation network")
    tell_passed_over(path, passed)
    if refused:
        count = sum(map(len, pixels.values())) + len(refused)
        first = f"{len(refused):,} of {count:,} pictures cannot be used, the first: {refused[0]}"
        raise DataError(f"{path}: {first}")
    if not names["test"]:
        pixels["test"], pixels["validation"] = pixels["validation"], []
        names["test"], names["validation"] = names["validation"], []
    classes = _classes(path, names)
    index = {name: i for i, name in enumerate(classes)}

    def split_of(name: str) -> Split:
        return Split(np.stack(pixels[name]), np.array([index[label] for label in names[name]]))

    validation = split_of("validation") if names["validation"] else None
    return split_of("train"), validation, split_of("test"), classes


def _classes(path: Path, names: dict[str, list[str]]) -> tuple[str, ...]:
    """The names of all classes. Raises `DataError` where a split has no images of a class."""
    for split in ("train", "test"):
        if not names[split]:
            raise DataError(f"{path} has no {split} images: they are looked for in {split}/<class>/")
    found = {split: set(several) for split, several in names.items() if several}
    for split in found:
        for other in found:
            if missing := sorted(found[other] - found[split]):
                raise DataError(f"{path}: class {missing[0]!r} has {other} images but no {split} images")
    return tuple(sorted(found["train"]))
