"""Pictures as a user has them, into the pixels that a model takes.

Colours are taken for sRGB: a profile within the file is not applied.
"""

import glob
import logging
import os
import re
import stat
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from models.errors import UsageError
from models.pixels import centre, fitted

MAX_PIXELS = 64_000_000
"""An image of more is refused, from its header: decoded it is 256 MB, and conversion makes copies."""

_TOO_LARGE = f"more than {MAX_PIXELS // 10**6} million pixels: scale it down first"

# EPS would start Ghostscript; the others Pillow only recognises, and leaves to handlers that are not there.
_NOT_READ = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"}
# Several pictures, of which the first is the whole: the others are previews, depth maps, layers.
_FIRST_IS_WHOLE = {"MPO", "PSD"}
_MODE_WORDS = {"1": "1-bit", "L": "grey", "LA": "grey with alpha", "P": "palette"}

_ONE_AT_A_TIME = threading.Lock()
# What Pillow logs would go to stderr where nobody has set up logging.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class ImageError(UsageError, ValueError):
    """An image that cannot be used, in one line: which, what is wrong with it, what to do."""


@dataclass(frozen=True)
class Found:
    """An image that was named; with ``problem``, a name or folder that no image comes from."""

    path: Path
    problem: str | None = None


def find(names: Sequence[str]) -> list[Found]:
    """Every image named, in that order and once each.

    A file is taken as it is. Of a folder and those in it, the files that end like an image, in natural order
    (2.png before 10.png) and without hidden ones. A pattern, where nothing is called so, stands for what it
    matches, ``**`` for any depth. A name that yields nothing has its problem in its place.
    """
    found: dict[Path, Found] = {}
    for name in names:
        try:
            several = _named(name)
        except OSError as error:
            several = [_unreadable(Path(name), error)]
        for each in several:
            found.setdefault(each.path.absolute(), each)
    return list(found.values())


def convert(
    source: Path | Image.Image | np.ndarray, height: int, width: int, channels: int
) -> tuple[np.ndarray, str | None]:
    """An image as uint8 pixels (``height``, ``width``, ``channels``), grey for 1 channel and RGB for 3.

    Arrays are uint8 of (H, W), (H, W, 1), (H, W, 3) or (H, W, 4). An image is turned as its EXIF says, put
    over white where it has alpha, cropped around its centre to the proportions wanted, and scaled. With the
    pixels comes a note of what of that was done, None where nothing was. Raises `ImageError`, and nothing
    else whatever a file holds; no file is trusted to be what its name or header says.
    """
    if not isinstance(source, Path | Image.Image | np.ndarray):
        raise TypeError(f"source must be a Path, an Image or an array, not {source!r}")
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, not {channels!r}")
    mode = "L" if channels == 1 else "RGB"
    try:
        with _pillow():
            image, was, done = _decoded(source)
            if 2 * image.height < height or 2 * image.width < width:
                raise ImageError(
                    f"{_size(image.size)} is less than half of the model's {_size((width, height))}: "
                    "take a larger image"
                )
            other_colours = image.mode.upper().removesuffix("A") != mode
            if image.has_transparency_data:
                image = _over_white(image)
                done.append("alpha over white")
            part = centre(image.size, (width, height))
            if part != image.size:
                done.append(f"cropped to the centre {_size(part)}")
            if part != (width, height):
                done.append(f"scaled to {_size((width, height))}")
            if other_colours:
                done.append("made grey" if channels == 1 else "made RGB")
            pixels = fitted(image, height, width, channels)
    except ImageError as error:
        if isinstance(source, Path):
            raise ImageError(f"{source}: {error}") from error
        raise
    return pixels, f"{was}: {', '.join(done)}" if done else None


def class_of(path: Path, classes: Sequence[str]) -> int | None:
    """The true class of an image, if the folder that it is in is called like one of ``classes``."""
    folder = path.absolute().parent.name
    return classes.index(folder) if folder in classes else None


@cache
def _formats() -> tuple[str, ...]:
    """What is read, the common ones first."""
    Image.preinit()
    Image.init()
    return tuple(name for name in Image.ID if name not in _NOT_READ)


def _named(name: str) -> list[Found]:
    path = Path(name)
    if name and path.exists():  # Path("") would be the working directory
        return list(_images(path)) or [Found(path, "no images in this folder")]
    if glob.has_magic(name):
        # As a shell and unlike `Path.glob`, this leaves out what is hidden.
        matches = sorted(map(Path, glob.glob(name, recursive=True)), key=_natural)  # noqa: PTH207
        several = [each for match in matches for each in _images(match)]
        return several or [Found(path, "no images match this pattern")]
    return [Found(path, "no such file or folder")]


def _images(path: Path, above: frozenset[Path] = frozenset()) -> Iterator[Found]:
    """A file, or what is in a folder and those in it, links followed."""
    if not path.is_dir():
        yield Found(path)
        return
    here, formats, suffixes = path.resolve(), _formats(), Image.registered_extensions()
    if here in above:  # a link back up
        return
    try:
        shown = sorted((each for each in path.iterdir() if not each.name.startswith(".")), key=_natural)
        taken = [each for each in shown if each.is_dir() or suffixes.get(each.suffix.lower()) in formats]
    except OSError as error:
        yield _unreadable(path, error)
        return
    for each in taken:
        yield from _images(each, above | {here})


def _natural(path: Path) -> tuple:
    """What paths are sorted by to have the numbers in them in order."""
    pieces = [re.split(r"(\d+)", part) for part in path.parts]
    return [[int(x) if i % 2 else x for i, x in enumerate(part)] for part in pieces], path


def _unreadable(path: Path, error: OSError) -> Found:
    return Found(path, f"cannot be read: {error.strerror}")


@contextmanager
def _pillow() -> Iterator[None]:
    """Pillow strict and silent, whatever it is set to, and all that it may raise made `ImageError`.

    The settings are the process's own, hence one thread at a time, and put back.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
        # It raises beyond twice its maximum, and some formats allocate before we would know the size.
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, MAX_PIXELS // 2
        try:
            yield
        except ImageError:
            raise
        except Image.DecompressionBombError as error:
            raise ImageError(_TOO_LARGE) from error
        except UnidentifiedImageError as error:
            raise ImageError("not an image that can be read: save it as PNG or JPEG") from error
        except Exception as error:  # each decoder has kinds of its own
            text = " ".join(str(error).split()) or type(error).__name__
            raise ImageError(f"damaged or incomplete ({text}): get or save it again") from error
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = kept


def _decoded(source: Path | Image.Image | np.ndarray) -> tuple[Image.Image, str, list[str]]:
    """The image turned as its EXIF says, what it was before, and what was done."""
    if isinstance(source, np.ndarray):
        return _upright(_from_array(source))
    if isinstance(source, Image.Image):
        return _upright(source)
    with _opened(source) as file:
        # Decoding passes over a PNG's checksums; this looks at them, but then the image is used up.
        Image.open(file, formats=_formats()).verify()
        return _upright(Image.open(file, formats=_formats()))


def _opened(path: Path) -> BinaryIO:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageError("a folder, not an image: name the images in it")
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise ImageError("not a regular file: save the image as one")
        if not status.st_size:
            raise ImageError("zero bytes: get or save it again")
        return path.open("rb")
    except OSError as error:
        raise ImageError(f"cannot be opened: {error.strerror}") from error


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,), (3,), (4,)):
        raise ImageError(
            "an array must be uint8 of (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), "
            f"not {array.dtype} of {array.shape}"
        )
    return Image.fromarray(array[..., 0] if array.shape[2:] == (1,) else array)


def _upright(image: Image.Image) -> tuple[Image.Image, str, list[str]]:
    """As `_decoded`; what the header says against it comes before any decoding."""
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(_TOO_LARGE)
    if image.mode == "CMYK":
        raise ImageError("CMYK, whose colours depend on a profile: convert it to RGB first")
    if image.mode[0] in "IF":
        raise ImageError(f"more than 8 bits a sample (mode {image.mode}): save it as 8 bit")
    if (count := getattr(image, "n_frames", 1)) > 1 and image.format not in _FIRST_IS_WHOLE:
        raise ImageError(f"{count} frames: extract one and give that")
    was = f"{_size(image.size)} {_MODE_WORDS.get(image.mode, image.mode)}"
    # Before loading: on that, a TIFF turns by itself, and forgets.
    turned = image.getexif().get(ExifTags.Base.Orientation) in range(2, 9)
    with _libtiff_silent() if image.format == "TIFF" else nullcontext():
        image.load()
    if not turned:
        return image, was, []
    return ImageOps.exif_transpose(image), was, ["turned as its EXIF says"]


@contextmanager
def _libtiff_silent() -> Iterator[None]:
    """It writes to the process's stderr by itself, past Python's; so would other threads meanwhile."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode in ("La", "RGBa"):  # premultiplied, from which there is one way out
        image = image.convert(image.mode.upper())
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA"))


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"
