"""The pictures that a person names: files, folders, patterns."""

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from haarlequin.models.common.pictures import files_below, is_named_like_one, natural


@dataclass(frozen=True)
class Found:
    """An image that was named; with ``problem``, a name or folder that no image comes from."""

    path: Path
    problem: str | None = None


def find(names: Sequence[str]) -> list[Found]:
    """Every image named, in that order and once each.

    A file is taken as it is. Of a folder and those in it, the files that end like an image, in natural order
    (2.png before 10.png) and without hidden ones; each real folder once, wherever links lead. A pattern,
    where nothing is called so, stands for what it matches, ``**`` for any depth. A name that yields nothing
    has its problem in its place.
    """
    found: dict[Path, Found] = {}
    # Before any link leads there, each folder is met under the name that it has here.
    seen = {path.resolve() for path in map(Path, filter(None, names)) if _is_folder(path)}
    for name in names:
        try:
            several = _named(name, seen)
        except OSError as error:
            several = [_unreadable(Path(name), error)]
        for each in several:
            found.setdefault(each.path.absolute(), each)
    return list(found.values())


def class_of(path: Path, classes: Sequence[str]) -> int | None:
    """The true class of an image, if the folder that it is in is called like one of ``classes``."""
    folder = path.absolute().parent.name
    return classes.index(folder) if folder in classes else None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # its name is too long, for one
        return False


def _named(name: str, seen: set[Path]) -> list[Found]:
    """What a name stands for; ``seen`` are real folders that others have brought."""
    path = Path(name)
    if name and path.exists():  # Path("") would be the working directory
        return _images([path], seen) or [Found(path, "no images in this folder")]
    if glob.has_magic(name):
        return _images(_matches(name), seen) or [Found(path, "no images match this pattern")]
    return [Found(path, "no such file or folder")]


def _images(paths: Sequence[Path], seen: set[Path]) -> list[Found]:
    """Files, and what is in folders and those in them, links followed."""
    found: list[Found] = []

    def failed(where: Path, error: OSError) -> None:
        if where.is_dir() or is_named_like_one(where.name):
            found.append(_unreadable(where, error))

    seen |= {path.resolve() for path in paths if path.is_dir()}
    for path in paths:
        if path.is_dir():
            found += [Found(file) for file in files_below(path, failed, seen) if is_named_like_one(file.name)]
        else:
            found.append(Found(path))
    return found


def _matches(pattern: str) -> list[Path]:
    """Files and folders that a pattern stands for: as in a shell, hidden ones are not among them."""
    parts = Path(pattern).parts
    if "**" not in parts:
        return sorted(map(Path, glob.glob(pattern)), key=natural)  # noqa: PTH207 (Path.glob takes hidden ones)
    # `glob` would follow links in circles.
    at = parts.index("**")
    tops = sorted(map(Path, glob.glob(str(Path(*parts[:at])))), key=natural)  # noqa: PTH207
    seen = {top.resolve() for top in tops}
    files = [(top, file) for top in tops for file in files_below(top, lambda path, error: None, seen)]
    return [file for top, file in files if _fits(file, file.relative_to(top).parts, parts[at:])]


def _fits(file: Path, parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether a pattern means that file, or, where the file ends like an image, a folder that it is in."""
    if _matched(parts, pattern) and pattern[-1] != "**":
        return True
    folders = (parts[:count] for count in range(len(parts)))
    return is_named_like_one(file.name) and any(_matched(folder, pattern) for folder in folders)


def _matched(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matched(parts[skipped:], pattern[1:]) for skipped in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matched(parts[1:], pattern[1:])


def _unreadable(path: Path, error: OSError) -> Found:
    return Found(path, f"cannot be read: {error.strerror}")
