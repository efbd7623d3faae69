"""Image folders, `train/<class>/…` and `test/<class>/…`, as folders or in tar archives.

CIFAR-10, Tiny-ImageNet and ImageNet are available in this form, some with `val` instead of `test` and with an
`images` folder in each class.
"""

import os
import sys
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np
from tqdm import tqdm

from haarlequin.models.common.cli import printable
from haarlequin.models.common.pictures import (
    PictureError,
    convert,
    files_below,
    has_picture_suffix,
    is_hidden,
)
from haarlequin.models.data.split import DataError, Split

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""The split that a folder of this name holds."""

_REASONS = 5
"""Largest number of reasons in the line that tells which files were passed over."""

Entry = tuple[str, str, str, Callable[[], bytes]]
"""(split, class, name for messages, how to read it)."""


def is_tar(path: Path) -> bool:
    """Whether ``path`` looks like an archive of images."""
    return path.is_file() and path.name.endswith(TAR_SUFFIXES) and not is_hidden(path.name)


def has_images(path: Path) -> bool:
    """Whether `read_splits` can read ``path``: a tar, or a folder with tars or with splits in it."""
    if path.is_dir():
        return any(is_tar(p) or (p.is_dir() and p.name in _SPLITS) for p in path.iterdir())
    return is_tar(path)


def read_splits(
    path: Path, image: tuple[int, int], channels: int
) -> tuple[Split, Split | None, Split, tuple[str, ...]]:
    """(train, validation, test, class names in alphabetic order) of a folder, a tar of one, or a folder of
    such tars. Where there is only one of validation and test, it is the test split.

    Every picture goes through `models.common.pictures.convert`. Hidden files and folders are ignored; a line
    on stderr says how many other files were passed over, and why. Raises `DataError` where a split or a class
    is missing, an archive is truncated or a picture cannot be used.
    """
    pixels: dict[str, list[np.ndarray]] = {"train": [], "validation": [], "test": []}
    names: dict[str, list[str]] = {split: [] for split in pixels}
    passed, refused = Counter[str](), list[str]()
    with tqdm(desc=f"reading {path.name}", unit=" images", leave=False) as bar:
        for split, label, came in _decoded(_entries(path, passed), image, channels):
            bar.update()
            if isinstance(came, PictureError):
                refused.append(str(came))
                continue
            pixels[split].append(came)
            names[split].append(label)
    if total := passed.total():
        reasons = [f"{count:,} {reason}" for reason, count in passed.most_common(_REASONS) if count]
        rest = " and others" * (len(passed) > _REASONS)
        print(printable(f"{path}: {total:,} files passed over: {', '.join(reasons)}{rest}"), file=sys.stderr)
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


def _decoded(
    entries: Iterator[Entry], image: tuple[int, int], channels: int
) -> Iterator[tuple[str, str, np.ndarray | PictureError]]:
    """(split, class, pixels or why there are none) of every entry, in order. Files are decoded on every core,
    a bounded number of them ahead.
    """

    def decode(entry: Entry, data: bytes) -> tuple[str, str, np.ndarray | PictureError]:
        split, label, name, _ = entry
        try:
            return split, label, convert(data, *image, channels)[0]
        except PictureError as error:
            return split, label, PictureError(f"{name}: {error}")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while chunk := list(islice(entries, 1024)):
            # Archives are read by one thread, in order.
            yield from pool.map(decode, chunk, [entry[3]() for entry in chunk])


def _entries(path: Path, passed: Counter[str]) -> Iterator[Entry]:
    """The images below ``path``, sorted within each archive and split. ``passed`` counts all other files."""
    if is_tar(path):
        yield from _tar_entries(path, passed)
        return
    try:
        shown = sorted(each for each in path.iterdir() if not is_hidden(each.name))
    except OSError as error:
        raise _unreadable(path, error) from None
    for each in shown:
        if is_tar(each):
            yield from _tar_entries(each, passed)
    for each in shown:
        if each.is_dir():
            if each.name in _SPLITS:
                yield from _split_entries(each, passed)
            else:
                passed[f"in {each.name}/, which is no split"] += _count(each)


def _count(folder: Path) -> int:
    return sum(1 for _ in files_below(folder, lambda path, error: None))


def _split_entries(folder: Path, passed: Counter[str]) -> Iterator[Entry]:
    """The images of a split's folder. Links are followed, but a real folder belongs only to its own class."""
    split = _SPLITS[folder.name]
    try:
        shown = sorted(each for each in folder.iterdir() if not is_hidden(each.name))
    except OSError as error:
        raise _unreadable(folder, error) from None
    classes: dict[Path, Path] = {}
    for each in shown:
        if not each.is_dir():
            passed["in no class's folder"] += 1
        elif (other := classes.setdefault(each.resolve(), each)) != each:
            raise DataError(f"{each} and {other} are the same folder: one of its names is a class too many")

    def failed(where: Path, error: OSError) -> None:
        if not where.is_symlink() or where.exists():
            raise _unreadable(where, error) from None
        passed["links to nothing"] += 1

    seen = set(classes)
    for each in classes.values():
        for file in sorted(files_below(each, failed, seen)):
            if has_picture_suffix(file.name):
                yield split, each.name, str(file), _reader(file)
            else:
                passed[_suffix_reason(file.name)] += 1


def _reader(file: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            # Reading a pipe would wait for ever.
            return file.read_bytes() if file.is_file() else b""
        except OSError as error:
            raise _unreadable(file, error) from None

    return read


def _suffix_reason(name: str) -> str:
    suffix = PurePosixPath(name).suffix.lower()
    return f"that end in {suffix}" if suffix else "without a suffix"


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path} cannot be read: {error.strerror or error}")


def _tar_entries(path: Path, passed: Counter[str]) -> Iterator[Entry]:
    """The images of an archive, in its own order: a compressed archive could be read in another one only by
    starting again. Links to files in it come last, in the order of the files that they lead to.
    """

    def entry(member: tarfile.TarInfo, place: tuple[str, str], name: str) -> Entry:
        file = archive.extractfile(member)
        data = file.read() if file else b""  # there is a file for everything but folders
        return *place, f"{path}: {name}", lambda: data

    try:
        with tarfile.open(path) as archive:
            others: list[tuple[tarfile.TarInfo, tuple[str, str]]] = []
            for member in archive:
                if place := _place(PurePosixPath(member.name), member, passed):
                    if member.isfile():
                        yield entry(member, place, member.name)
                    else:
                        others.append((member, place))
            # The end is a block of zeros. Without one, tarfile is content with the end of the file.
            if archive.fileobj.tell() == archive.offset:
                raise tarfile.ReadError("it ends too soon")
            links = [(_target(archive, member), place, member.name) for member, place in others]
            passed["links to nothing"] += sum(target is None for target, _, _ in links)
            there = [(target, place, name) for target, place, name in links if target]
            for target, place, name in sorted(there, key=lambda link: link[0].offset_data):
                yield entry(target, place, name)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        reason = (str(error) or "it ends too soon").splitlines()[0].rstrip(":")
        raise DataError(f"{path} is truncated or no tar archive ({reason}): fetch it again") from None
    except OSError as error:
        if error.errno:
            raise _unreadable(path, error) from None
        raise DataError(f"{path} is truncated or no tar archive ({error}): fetch it again") from None


def _target(archive: tarfile.TarFile, member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """The file in the archive that a link in it leads to, or None."""
    for _ in range(40):  # as many links after one another as Linux follows
        if member.isfile():
            return member
        if not (member.islnk() or member.issym()):
            return None
        name = member.linkname
        if member.issym():  # its path begins at the folder of the link
            name = os.path.normpath(PurePosixPath(member.name).parent / name)
        try:
            member = archive.getmember(name)
        except KeyError:
            return None
    return None


def _place(name: PurePosixPath, member: tarfile.TarInfo, passed: Counter[str]) -> tuple[str, str] | None:
    """(split, class) of the image at that path; None if it is none of a split, which ``passed`` counts."""
    if member.isdir() or any(is_hidden(part) for part in name.parts if part != ".."):
        return None
    if not has_picture_suffix(name.name):
        passed["links to folders" if member.issym() else _suffix_reason(name.name)] += 1
        return None
    for i, part in enumerate(name.parts[:-2]):
        if part in _SPLITS:
            return _SPLITS[part], name.parts[i + 1]
    passed["in no split's class"] += 1
    return None
