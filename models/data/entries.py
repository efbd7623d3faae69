"""The pictures of a folder with splits, `train/<class>/…` and `test/<class>/…`, or of tar archives of one.

`folder.py` takes the folders within a split for classes, `masks.py` for images and their masks.
"""

import os
import sys
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeAlias, TypeVar

from haarlequin.models.common.errors import printable
from haarlequin.models.common.pictures import files_below, has_picture_suffix, is_hidden
from haarlequin.models.data.split import DataError

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""The split that a folder of this name holds."""

_REASONS = 5
"""Largest number of reasons in the line that tells which files were passed over."""

MOST_BYTES = 1 << 28
"""A larger file is refused unread: `models.common.pictures.MAX_PIXELS` pixels of 4 bytes are smaller."""

Place: TypeAlias = tuple[str, str, str]
"""The first three fields of an `Entry`."""

Decoded = TypeVar("Decoded")


class Entry(NamedTuple):
    """A file that was found, unread."""

    split: str
    """`train`, `validation` or `test`; empty for a file beside the splits."""
    folder: str
    """The name of its folder within the split."""
    below: str
    """Its path below that folder."""
    name: str
    """Its whole path, for messages."""
    read: Callable[[], bytes]


def is_tar(path: Path) -> bool:
    """Whether ``path`` looks like an archive of images."""
    return path.is_file() and path.name.endswith(TAR_SUFFIXES) and not is_hidden(path.name)


def has_images(path: Path) -> bool:
    """Whether `entries` can read ``path``: a tar, or a folder with tars or with splits in it."""
    if path.is_dir():
        return any(is_tar(p) or (p.is_dir() and p.name in _SPLITS) for p in path.iterdir())
    return is_tar(path)


def entries(path: Path, passed: Counter[str], beside: str | None = None) -> Iterator[Entry]:
    """The images below ``path``, sorted within each archive and split, and files of the name ``beside`` that
    are in no split. ``passed`` counts all other files.
    """
    if is_tar(path):
        yield from _tar_entries(path, passed, beside)
        return
    try:
        shown = sorted(each for each in path.iterdir() if not is_hidden(each.name))
    except OSError as error:
        raise _unreadable(path, error) from None
    for each in shown:
        if is_tar(each):
            yield from _tar_entries(each, passed, beside)
        elif each.name == beside and each.is_file():
            yield Entry("", "", each.name, str(each), _reader(each))
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
                below = file.relative_to(each).as_posix()
                yield Entry(split, each.name, below, str(file), _reader(file))
            else:
                passed[_suffix_reason(file.name)] += 1


def _reader(file: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            # Reading a pipe would wait for ever.
            if not file.is_file():
                return b""
            _check_size(str(file), file.stat().st_size)
            return file.read_bytes()
        except OSError as error:
            raise _unreadable(file, error) from None

    return read


def _check_size(name: str, size: int) -> None:
    """Raise `DataError` for a file that is too large to be a picture, or says so."""
    if size > MOST_BYTES:
        raise DataError(f"{name} has {size:,} bytes, {MOST_BYTES:,} at most: take it out")


def _suffix_reason(name: str) -> str:
    suffix = PurePosixPath(name).suffix.lower()
    return f"that end in {suffix}" if suffix else "without a suffix"


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path} cannot be read: {error.strerror or error}")


def _tar_entries(path: Path, passed: Counter[str], beside: str | None) -> Iterator[Entry]:
    """The files of an archive that `entries` yields, in its own order: a compressed archive could be read in
    another one only by starting again. Links come last, in the order of the files that they lead to.
    """

    def entry(member: tarfile.TarInfo, place: Place, name: str) -> Entry:
        _check_size(f"{path}: {name}", member.size)
        file = archive.extractfile(member)
        data = file.read() if file else b""  # there is a file for everything but folders
        return Entry(*place, f"{path}: {name}", lambda: data)

    try:
        with tarfile.open(path) as archive:
            others: list[tuple[tarfile.TarInfo, Place]] = []
            for member in archive:
                if place := _place(PurePosixPath(member.name), member, passed, beside):
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
    except (tarfile.TarError, EOFError, zlib.error, ValueError, MemoryError) as error:
        if isinstance(error, DataError):
            raise
        # A header may say that it is longer than memory.
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


def _place(
    name: PurePosixPath, member: tarfile.TarInfo, passed: Counter[str], beside: str | None
) -> Place | None:
    """The place of the file at that path; None if `entries` does not yield it, which ``passed`` counts."""
    if member.isdir() or any(is_hidden(part) for part in name.parts if part != ".."):
        return None
    at = next((i for i, part in enumerate(name.parts[:-1]) if part in _SPLITS), None)
    if at is None and name.name == beside:
        return "", "", name.name
    if not has_picture_suffix(name.name):
        passed["links to folders" if member.issym() else _suffix_reason(name.name)] += 1
        return None
    if at is None or at + 2 >= len(name.parts):
        passed["in no split's class"] += 1
        return None
    return _SPLITS[name.parts[at]], name.parts[at + 1], "/".join(name.parts[at + 2 :])


def read_through(found: Iterable[Entry], decode: Callable[[Entry, bytes], Decoded]) -> Iterator[Decoded]:
    """``decode(entry, content)`` of every entry, in order; it runs on every core, a bounded number of files
    ahead of the caller.
    """
    waiting = iter(found)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while chunk := list(islice(waiting, 1024)):
            # Archives are read by one thread, in order.
            yield from pool.map(decode, chunk, [entry.read() for entry in chunk])


def tell_passed_over(path: Path, passed: Counter[str]) -> None:
    """Say in a line on stderr how many files were passed over, and why."""
    if total := passed.total():
        reasons = [f"{count:,} {reason}" for reason, count in passed.most_common(_REASONS) if count]
        rest = " and others" * (len(passed) > _REASONS)
        print(printable(f"{path}: {total:,} files passed over: {', '.join(reasons)}{rest}"), file=sys.stderr)
