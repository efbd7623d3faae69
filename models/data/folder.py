"""Image folders, `train/<class>/…` and `test/<class>/…`, as they lie or in tar archives.

CIFAR-10, Tiny-ImageNet and ImageNet come so, some with `val` for `test` and with an `images` folder in
each class.
"""

import io
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from ..pixels import fitted
from .split import DataError, Split

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".gif"}
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")

_SPLITS = {"train": "train", "training": "train", "test": "test", "val": "test", "validation": "test"}

Entry = tuple[str, str, str, Callable[[], bytes]]
"""(split, class, name for messages, how to read it)."""


def is_tar(path: Path) -> bool:
    """Whether that looks like an archive of images."""
    return path.is_file() and path.name.endswith(TAR_SUFFIXES)


def has_images(path: Path) -> bool:
    """Whether `read_splits` is meant for it: a tar, or a folder with tars or with a training split in it."""
    if path.is_dir():
        return any(is_tar(p) or (p.is_dir() and p.name in _SPLITS) for p in path.iterdir())
    return is_tar(path)


def read_splits(path: Path, image: tuple[int, int], channels: int) -> tuple[Split, Split, tuple[str, ...]]:
    """(train, test, class names in alphabetic order) of a folder, a tar of one, or a folder of such tars.

    Images of another size are scaled to cover height × width and cut in the centre. Raises `DataError` where
    a split or a class is missing, an archive is truncated or an image is none.
    """
    pixels: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    names: dict[str, list[str]] = {"train": [], "test": []}
    with tqdm(desc=f"reading {path.name}", unit=" images", leave=False) as bar:
        for split, label, array in _decoded(_entries(path), image, channels):
            pixels[split].append(array)
            names[split].append(label)
            bar.update()
    for split, found in names.items():
        if not found:
            raise DataError(f"{path} has no {split} images: they are looked for in {split}/<class>/")
    classes = tuple(sorted(set(names["train"])))
    for split, other in (("train", "test"), ("test", "train")):
        if missing := sorted(set(names[other]) - set(names[split])):
            raise DataError(f"{path}: class {missing[0]!r} has {other} images but no {split} images")
    index = {name: i for i, name in enumerate(classes)}
    splits = [
        Split(torch.from_numpy(np.stack(pixels[s])), torch.tensor([index[name] for name in names[s]]))
        for s in ("train", "test")
    ]
    return splits[0], splits[1], classes


def _decoded(
    entries: Iterator[Entry], image: tuple[int, int], channels: int
) -> Iterator[tuple[str, str, np.ndarray]]:
    """(split, class, pixels), decoded on every core, in order, a bounded number of files ahead."""

    def decode(entry: Entry, data: bytes) -> tuple[str, str, np.ndarray]:
        split, label, name, _ = entry
        return split, label, decode_image(data, name, image, channels)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while chunk := list(islice(entries, 1024)):
            # Archives are read by one thread, in order.
            yield from pool.map(decode, chunk, [entry[3]() for entry in chunk])


def decode_image(data: bytes, name: str, image: tuple[int, int], channels: int) -> np.ndarray:
    """An encoded image as uint8 (height, width, channels)."""
    try:
        with Image.open(io.BytesIO(data)) as file:
            return fitted(ImageOps.exif_transpose(file), *image, channels)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{name} is no whole image: {error}") from None


def _entries(path: Path) -> Iterator[Entry]:
    """The images below ``path``, sorted within each archive and split."""
    if is_tar(path):
        yield from _tar_entries(path)
        return
    for archive in sorted(p for p in path.iterdir() if is_tar(p)):
        yield from _tar_entries(archive)
    for folder in sorted(p for p in path.iterdir() if p.is_dir() and p.name in _SPLITS):
        for file in sorted(folder.rglob("*")):
            if place := _place(PurePosixPath(file.relative_to(path).as_posix())):
                yield *place, str(file), file.read_bytes


def _tar_entries(path: Path) -> Iterator[Entry]:
    try:
        with tarfile.open(path) as archive:
            # In the order of the file: a compressed one cannot be read in any other without starting again.
            for member in archive:
                if member.isfile() and (place := _place(PurePosixPath(member.name))):
                    data = archive.extractfile(member).read()
                    yield *place, f"{path}: {member.name}", lambda data=data: data
            # The end is a block of zeros. Without one, tarfile is content with the end of the file.
            if archive.fileobj.tell() == archive.offset:
                raise tarfile.ReadError("it ends too soon")
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        reason = (str(error) or "it ends too soon").splitlines()[0].rstrip(":")
        raise DataError(f"{path} is truncated or no tar archive ({reason}): fetch it again") from None


def _place(name: PurePosixPath) -> tuple[str, str] | None:
    """(split, class) of the image of that path, None if it is no image of a split."""
    if name.suffix.lower() not in IMAGE_SUFFIXES:
        return None
    for i, part in enumerate(name.parts[:-2]):
        if part in _SPLITS:
            return _SPLITS[part], name.parts[i + 1]
    return None
