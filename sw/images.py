"""Find the pictures that a person names: files, folders, patterns."""

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from haarlequin.models.common.pictures import files_below, has_picture_suffix, natural


@dataclass(frozen=True)
class Found:
    """An image that was found, or, with a ``problem``, a name or folder that yields no image."""

    path: Path
    problem: str | None = None


def find(names: Sequence[str]) -> list[Found]:
    """Every image that is named, in that order and once each.

    - A file is taken as it is.
    - A folder stands for the files within it, at any depth, whose names end like an image's. They come in
      natural order (2.png before 10.png), without hidden ones. Links are followed, but each real folder is
      searched only once.
    - A pattern stands for what it matches, with ``**`` for any depth, unless a file has exactly that name.
    - A name that yields nothing has its problem in its place.
    """
    found: dict[Path, Found] = {}
    # The named folders are noted first, so that each is found under this name and not through a link.
    seen = {path.resolve() for path in map(Path, filter(None, names)) if _is_folder(path)}
    for name in names:
        try:
            several = _named(name, seen)
        except OSError as error:
            several = [_unreadable(Path(name), error)]
        except ValueError:  # a NUL is in it
            several = [Found(Path(name), "no such file or folder")]
        for each in several:
            found.setdefault(each.path.absolute(), each)
    return list(found.values())


def class_of(path: Path, classes: Sequence[str]) -> int | None:
    """The true class of an image, if its folder has the name of one of ``classes``."""
    folder = path.absolute().parent.name
    return classes.index(folder) if folder in classes else None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # for example, its name is too long, or a NUL is in it
        return False


def _named(name: str, seen: set[Path]) -> list[Found]:
    """The images of one name; ``seen`` are the real folders that have been searched already."""
    path = Path(name)
    if name and path.exists():  # Path("") would be the working directory
        return _images([path], seen) or [Found(path, "no images in this folder")]
    if glob.has_magic(name):
        return _images(_matches(name), seen) or [Found(path, "no images match this pattern")]
    return [Found(path, "no such file or folder")]


def _images(paths: Sequence[Path], seen: set[Path]) -> list[Found]:
    """Files as they are, and the images within folders at any depth; links are followed."""
    found: list[Found] = []

    def failed(where: Path, error: OSError) -> None:
        if where.is_dir() or has_picture_suffix(where.name):
            found.append(_unreadable(where, error))

    seen |= {path.resolve() for path in paths if path.is_dir()}
    for path in paths:
        if path.is_dir():
            found += [
                Found(file) for file in files_below(path, failed, seen) if has_picture_suffix(file.name)
            ]
        else:
            found.append(Found(path))
    return found


def _matches(pattern: str) -> list[Path]:
    """The files and folders that a pattern matches; as in a shell, it does not match hidden ones."""
    parts = Path(pattern).parts
    if "**" not in parts:
        return sorted(map(Path, glob.glob(pattern)), key=natural)  # noqa: PTH207 (Path.glob takes hidden ones)
    # For ``**``, `glob` would follow links in circles.
    # Several ** in a row match the same as one, but would be tried in every combination.
    parts = tuple(part for i, part in enumerate(parts) if part != "**" or parts[i - 1 : i] != ("**",))
    at = parts.index("**")
    tops = sorted(map(Path, glob.glob(str(Path(*parts[:at])))), key=natural)  # noqa: PTH207
    seen = {top.resolve() for top in tops}
    files = [(top, file) for top in tops for file in files_below(top, lambda path, error: None, seen)]
    return [file for top, file in files if _fits(file, file.relative_to(top).parts, parts[at:])]


def _fits(file: Path, parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether a pattern matches that file, or, if its name ends like an image's, a folder that it is in."""
    if _matched(parts, pattern) and pattern[-1] != "**":
        return True
    folders = (parts[:count] for count in range(len(parts)))
    return has_picture_suffix(file.name) and any(_matched(folder, pattern) for folder in folders)


def _matched(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matched(parts[skipped:], pattern[1:]) for skipped in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matched(parts[1:], pattern[1:])


def _unreadable(path: Path, error: OSError) -> Found:
    return Found(path, f"cannot be read: {error.strerror}")
