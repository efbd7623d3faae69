"""From a file, as people have them, to the pixels that a model takes: one way for training and inference.

Colours are taken for sRGB: a profile within the file is not applied.
"""

import io
import logging
import os
import re
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from haarlequin.models.common.errors import UsageError

MAX_PIXELS = 64_000_000
"""An image of more is refused, from its header: decoded it is 256 MB, and conversion makes copies."""

LARGEST_SCALE = 4
"""A picture with fewer rows or columns than the model's, divided by this, is refused: most of what the model
saw would be made up. Pictures of 64×64 may still train a model for 224×224."""

_TOO_LARGE = f"more than {MAX_PIXELS // 10**6} million pixels: scale it down first"

# Averages over all that a pixel covers, with no negative weights: no ringing, what is flat stays flat.
# LANCZOS rings; BOX weighs unevenly where the ratio is no integer.
_FILTER = Image.Resampling.HAMMING

# EPS would start Ghostscript; the others Pillow only recognises, and leaves to handlers that are not there.
_NOT_READ = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"}
# Several pictures, of which the first is the whole: the others are previews, depth maps, layers.
_FIRST_IS_WHOLE = {"MPO", "PSD"}
_MODE_WORDS = {"1": "1-bit", "L": "grey", "LA": "grey with alpha", "P": "palette"}

# What Pillow logs would go to stderr where nobody has set up logging.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class PictureError(UsageError, ValueError):
    """A picture that cannot be used, in one line: which, what is wrong with it, what to do."""


Source = Path | bytes | Image.Image | np.ndarray
"""A file, the content of one, or what a program already has in memory."""


def convert(source: Source, height: int, width: int, channels: int) -> tuple[np.ndarray, str | None]:
    """A picture as uint8 pixels (``height``, ``width``, ``channels``), grey for 1 channel and RGB for 3.

    Arrays are uint8 of (H, W), (H, W, 1), (H, W, 3) or (H, W, 4). A picture is turned as its EXIF says, put
    over white where it has alpha, cropped around its centre to the proportions wanted, and scaled. With the
    pixels comes a note of what of that was done, None where nothing was. Raises `PictureError`, and nothing
    else whatever a file holds; no file is trusted to be what its name or header says. Several threads may
    convert at once.
    """
    if not isinstance(source, Path | bytes | Image.Image | np.ndarray):
        raise TypeError(f"source must be a Path, bytes, an Image or an array, not {source!r}")
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, not {channels!r}")
    mode = "L" if channels == 1 else "RGB"
    try:
        with _pillow():
            image, was, done = _decoded(source)
            if LARGEST_SCALE * image.height < height or LARGEST_SCALE * image.width < width:
                raise PictureError(
                    f"{_size(image.size)} is less than a quarter of the model's {_size((width, height))}: "
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
    except PictureError as error:
        if isinstance(source, Path):
            raise PictureError(f"{source}: {error}") from error
        raise
    return pixels, f"{was}: {', '.join(done)}" if done else None


def centre(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    """The largest part of a picture of that size that has the proportions of ``wanted``."""
    width, height = (min(size[i], max(1, round(size[1 - i] * wanted[i] / wanted[1 - i]))) for i in (0, 1))
    return width, height


def fitted(image: Image.Image, height: int, width: int, channels: int) -> np.ndarray:
    """uint8 (``height``, ``width``, ``channels``): cropped around its centre to these proportions, then
    scaled; grey for 1 channel and RGB for 3.
    """
    image = image.convert("RGB")  # nothing is scaled as a palette or 1-bit; grey comes back as it was
    part = centre(image.size, (width, height))
    left, top = ((whole - kept) // 2 for whole, kept in zip(image.size, part, strict=True))
    image = image.crop((left, top, left + part[0], top + part[1]))
    if image.size != (width, height):
        image = image.resize((width, height), _FILTER)
    return np.array(image.convert("L" if channels == 1 else "RGB")).reshape(height, width, channels)


def is_named_like_one(name: str) -> bool:
    """Whether a file of that name is taken for a picture: it ends like a format that is read."""
    return Image.registered_extensions().get(Path(name).suffix.lower()) in _formats()


def is_hidden(name: str) -> bool:
    """Whether a file or folder of that name is none of the user's own: `._0.png`, `.ipynb_checkpoints`."""
    return name.startswith(".") or name == "__MACOSX"


def files_below(
    folder: Path, failed: Callable[[Path, OSError], None], seen: set[Path] | None = None
) -> Iterator[Path]:
    """Every file in a folder and those in it, in natural order (2.png before 10.png), hidden ones left out.

    Links are followed, and each real folder is entered once, where it lies if it lies below ``folder``:
    links may lead in circles. ``failed`` hears of a folder that cannot be read, and of a link to nothing.
    ``seen`` are real folders that are not to be entered; those that were are added to it.
    """
    seen = set() if seen is None else seen
    top = folder.resolve()
    yield from _walk(folder, top, failed, seen)


def _walk(
    folder: Path, top: Path, failed: Callable[[Path, OSError], None], seen: set[Path]
) -> Iterator[Path]:
    seen.add(folder.resolve())
    try:
        shown = sorted((each for each in folder.iterdir() if not is_hidden(each.name)), key=natural)
    except OSError as error:
        failed(folder, error)
        return
    for each in shown:
        if not each.is_dir():
            if each.is_symlink() and not each.exists():
                failed(each, FileNotFoundError(2, "a link to nothing"))
            else:
                yield each
            continue
        real = each.resolve()
        if real not in seen and not (each.is_symlink() and _is_met(real, top)):
            yield from _walk(each, top, failed, seen)


def _is_met(folder: Path, top: Path) -> bool:
    """Whether the walk from ``top`` comes to that real folder without a link."""
    return folder.is_relative_to(top) and not any(map(is_hidden, folder.relative_to(top).parts))


def natural(path: Path) -> tuple:
    """What paths are sorted by to have the numbers in them in order."""
    pieces = [re.split(r"(\d+)", part) for part in path.parts]
    return [[int(x) if i % 2 else x for i, x in enumerate(part)] for part in pieces], path


@cache
def _formats() -> tuple[str, ...]:
    """What is read, the common ones first."""
    Image.preinit()
    Image.init()
    return tuple(name for name in Image.ID if name not in _NOT_READ)


class _Settings:
    """Pillow's own, which are the whole process's: strict and silent while anyone converts, then put back."""

    def __init__(self) -> None:
        self._lock, self._users, self._put_back = threading.Lock(), 0, ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._users:
                self._put_back.enter_context(self._strict())
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._put_back.close()

    @contextmanager
    def _strict(self) -> Iterator[None]:
        kept = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # It raises beyond twice its maximum, and some formats allocate before we would know the size.
            ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, MAX_PIXELS // 2
            try:
                yield
            finally:
                ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = kept


_SETTINGS = _Settings()


@contextmanager
def _pillow() -> Iterator[None]:
    """Pillow with `_Settings`, and all that it may raise made `PictureError`."""
    with _SETTINGS:
        try:
            yield
        except PictureError:
            raise
        except Image.DecompressionBombError as error:
            raise PictureError(_TOO_LARGE) from error
        except UnidentifiedImageError as error:
            raise PictureError("not an image that can be read: save it as PNG or JPEG") from error
        except Exception as error:  # each decoder has kinds of its own
            text = " ".join(str(error).split()) or type(error).__name__
            raise PictureError(f"damaged or incomplete ({text}): get or save it again") from error


def _decoded(source: Source) -> tuple[Image.Image, str, list[str]]:
    """The image turned as its EXIF says, what it was before, and what was done."""
    if isinstance(source, np.ndarray):
        return _upright(_from_array(source))
    if isinstance(source, Image.Image):
        return _upright(source)
    with _opened(source) as file:
        # Decoding passes over a PNG's checksums; this looks at them, but then the image is used up.
        Image.open(file, formats=_formats()).verify()
        return _upright(Image.open(file, formats=_formats()))


def _opened(source: Path | bytes) -> BinaryIO:
    if isinstance(source, bytes):
        if not source:
            raise PictureError("zero bytes: get or save it again")
        return io.BytesIO(source)
    try:
        status = source.stat()
        if stat.S_ISDIR(status.st_mode):
            raise PictureError("a folder, not an image: name the images in it")
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise PictureError("not a regular file: save the image as one")
        if not status.st_size:
            raise PictureError("zero bytes: get or save it again")
        return source.open("rb")
    except OSError as error:
        raise PictureError(f"cannot be opened: {error.strerror}") from error


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,), (3,), (4,)):
        raise PictureError(
            "an array must be uint8 of (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), "
            f"not {array.dtype} of {array.shape}"
        )
    return Image.fromarray(array[..., 0] if array.shape[2:] == (1,) else array)


def _upright(image: Image.Image) -> tuple[Image.Image, str, list[str]]:
    """As `_decoded`; what the header says against it comes before any decoding."""
    if image.width * image.height > MAX_PIXELS:
        raise PictureError(_TOO_LARGE)
    if image.mode == "CMYK":
        raise PictureError("CMYK, whose colours depend on a profile: convert it to RGB first")
    if image.mode[0] in "IF":
        raise PictureError(f"more than 8 bits a sample (mode {image.mode}): save it as 8 bit")
    if (count := getattr(image, "n_frames", 1)) > 1 and image.format not in _FIRST_IS_WHOLE:
        raise PictureError(f"{count} frames: extract one and give that")
    if image.format == "PNG" and "transparency" in image.info:
        _mend_transparent_colour(image)
    was = f"{_size(image.size)} {_MODE_WORDS.get(image.mode, image.mode)}"
    # Before loading: on that, a TIFF turns by itself, and forgets.
    turned = image.getexif().get(ExifTags.Base.Orientation) in range(2, 9)
    with _libtiff_silent() if image.format == "TIFF" else nullcontext():
        image.load()
    if not turned:
        return image, was, []
    return ImageOps.exif_transpose(image), was, ["turned as its EXIF says"]


def _mend_transparent_colour(image: Image.Image) -> None:
    """A PNG names a colour that stands for transparent in its own bits, and Pillow compares it with 8."""
    stored = str(image.tile[0].args)
    if ";16" in stored:
        raise PictureError("16 bits a sample with a transparent colour: save it as 8 bit")
    if stored in ("L;2", "L;4"):
        image.info["transparency"] *= {"L;2": 85, "L;4": 17}[stored]


_ONE_TIFF_AT_A_TIME = threading.Lock()


@contextmanager
def _libtiff_silent() -> Iterator[None]:
    """It writes to the process's stderr by itself, past Python's; so would other threads meanwhile."""
    with _ONE_TIFF_AT_A_TIME:
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
