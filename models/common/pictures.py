"""From any common image file to the pixels that a model takes, in the same way for training and inference.

Colours are taken as sRGB: a colour profile in the file is not applied.
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
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from haarlequin.models.common.errors import UsageError

MAX_PIXELS = 64_000_000
"""A larger image is refused when its header is read: decoded it is 256 MB, and conversion makes copies."""

LARGEST_SCALE = 4
"""The largest factor by which a picture is scaled up. A picture that needs more is refused, because most
of what the model saw would be made up. Pictures of 64×64 may still train a model for 224×224."""

_TOO_LARGE = f"more than {MAX_PIXELS // 10**6} million pixels: scale it down first"

# HAMMING averages over the area that a pixel covers, and no weight is negative: it does not ring, and flat
# areas stay flat. LANCZOS rings; BOX has uneven weights where the ratio is not an integer.
_FILTER = Image.Resampling.HAMMING

# EPS would start Ghostscript. Pillow recognises the others, but leaves them to handlers that are not there.
_NOT_READ = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"}
# These formats hold several pictures. The first is the whole; the others are previews, depth maps or layers.
_FIRST_IS_WHOLE = {"MPO", "PSD"}
_MODE_WORDS = {"1": "1-bit", "L": "grey", "LA": "grey with alpha", "P": "palette"}

# Without a handler, the log of Pillow would go to stderr where nobody has set up logging.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class PictureError(UsageError, ValueError):
    """A picture that cannot be used; the message is one line, with the cause and what to do."""


Source: TypeAlias = Path | bytes | Image.Image | np.ndarray
"""A file, the content of a file, or a picture that a program already has in memory."""


def convert(source: Source, height: int, width: int, channels: int) -> tuple[np.ndarray, str | None]:
    """A picture as uint8 pixels (``height``, ``width``, ``channels``), grey for 1 channel and RGB for 3.

    Arrays are uint8 of (H, W), (H, W, 1), (H, W, 3) or (H, W, 4). A picture is turned as its EXIF says, put
    over white where it has alpha, cropped around its centre to the proportions wanted, and scaled. The second
    result is a note that says which of this was done, or None where nothing was. Raises `PictureError` and no
    other exception, whatever a file holds: its name and its header are not trusted. Several threads may
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
            crop = centre(image.size, (width, height))
            if crop != image.size:
                done.append(f"cropped to the centre {_size(crop)}")
            if crop != (width, height):
                done.append(f"scaled to {_size((width, height))}")
            if other_colours:
                done.append("made grey" if channels == 1 else "made RGB")
            pixels = fitted(image, height, width, channels)
    except PictureError as error:
        if isinstance(source, Path):
            raise PictureError(f"{source}: {error}") from error
        raise
    return pixels, f"{was}: {', '.join(done)}" if done else None


def convert_mask(source: Path | bytes, height: int, width: int) -> tuple[np.ndarray, tuple[int, int]]:
    """A mask, a PNG whose pixels are numbers of classes, as uint8 (``height``, ``width``); and the width and
    height that it had.

    It is turned and cropped as `convert` does it with its picture, and scaled by nearest neighbour. Grey
    values, indices of a palette and bits are numbers of classes. Raises `PictureError`, as `convert` does.
    """
    with _pillow(), _opened(source) as file:
        image = _verified(file)
        if image.format != "PNG":
            raise PictureError(f"a mask must be a PNG, not a {image.format}: save it as one")
        if image.mode not in ("1", "L", "P"):
            mode = _MODE_WORDS.get(image.mode, image.mode)
            raise PictureError(f"a mask has a number for each pixel, grey or of a palette, not {mode}")
        # Pillow spreads grey values of 2 and 4 bits over 0 to 255.
        step = {"L;2": 85, "L;4": 17}.get(str(image.tile[0].args), 1)
        image, _, _ = _upright(image)
        numbers = np.array(_cut(image, height, width)).astype(np.uint8) // step
        # The pixel in which the centre lies, in integers: Pillow rounds where it lies between two.
        rows, columns = (
            (2 * np.arange(new) + 1) * old // (2 * new)
            for new, old in zip((height, width), numbers.shape, strict=True)
        )
        return numbers[rows][:, columns], image.size


def size_of(source: Path | bytes) -> tuple[int, int]:
    """Width and height of a picture after it is turned as its EXIF says, mostly from its header alone. Raises
    `PictureError`, as `convert` does.
    """
    with _pillow(), _opened(source) as file:
        image = Image.open(file, formats=_formats())
        on_its_side = image.getexif().get(ExifTags.Base.Orientation) in range(5, 9)
        return image.size[::-1] if on_its_side else image.size


def centre(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the largest rectangle within ``size`` that has the proportions of ``wanted``."""
    width, height = (min(size[i], max(1, round(size[1 - i] * wanted[i] / wanted[1 - i]))) for i in (0, 1))
    return width, height


def fitted(image: Image.Image, height: int, width: int, channels: int) -> np.ndarray:
    """``image`` as uint8 (``height``, ``width``, ``channels``): cropped around its centre to these
    proportions, then scaled; grey for 1 channel and RGB for 3.
    """
    image = image.convert("RGB")  # a palette or 1-bit image cannot be scaled; grey stays grey
    image = _cut(image, height, width)
    if image.size != (width, height):
        image = image.resize((width, height), _FILTER)
    return np.array(image.convert("L" if channels == 1 else "RGB")).reshape(height, width, channels)


def _cut(image: Image.Image, height: int, width: int) -> Image.Image:
    """``image`` cropped around its centre to these proportions."""
    crop = centre(image.size, (width, height))
    left, top = ((whole - kept) // 2 for whole, kept in zip(image.size, crop, strict=True))
    return image.crop((left, top, left + crop[0], top + crop[1]))


def has_picture_suffix(name: str) -> bool:
    """Whether a file of that name is taken for a picture: its suffix is that of a format that is read."""
    return Image.registered_extensions().get(Path(name).suffix.lower()) in _formats()


def is_hidden(name: str) -> bool:
    """Whether programs, not people, make files or folders of that name: `._0.png`, `.ipynb_checkpoints`."""
    return name.startswith(".") or name == "__MACOSX"


def files_below(
    folder: Path, failed: Callable[[Path, OSError], None], seen: set[Path] | None = None
) -> Iterator[Path]:
    """Every file below a folder, in natural order (2.png before 10.png), without hidden ones.

    Links are followed. They may lead in circles, so each real folder is entered only once; if it is below
    ``folder``, it is entered at its own place. ``failed`` is called for a folder that cannot be read and for
    a link to nothing. ``seen`` are real folders that are not to be entered; those that are entered are added.
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
        if real not in seen and not (each.is_symlink() and _is_reached(real, top)):
            yield from _walk(each, top, failed, seen)


def _is_reached(folder: Path, top: Path) -> bool:
    """Whether the walk from ``top`` reaches that real folder without a link."""
    return folder.is_relative_to(top) and not any(map(is_hidden, folder.relative_to(top).parts))


def natural(path: Path) -> tuple:
    """A sort key for paths that orders the numbers in them by value."""
    pieces = [re.split(r"(\d+)", part) for part in path.parts]
    return [[int(x) if i % 2 else x for i, x in enumerate(part)] for part in pieces], path


@cache
def _formats() -> tuple[str, ...]:
    """The formats that are read, with the common ones first."""
    Image.preinit()
    Image.init()
    return tuple(name for name in Image.ID if name not in _NOT_READ)


class _Settings:
    """The settings of Pillow, which hold for the whole process. While any thread converts, they are strict
    and silent; then they are restored.
    """

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
            # Pillow raises beyond twice its maximum. Some formats allocate memory before we know the size.
            ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, MAX_PIXELS // 2
            try:
                yield
            finally:
                ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = kept


_SETTINGS = _Settings()


@contextmanager
def _pillow() -> Iterator[None]:
    """Use Pillow with `_Settings`, and turn every exception of it into a `PictureError`."""
    with _SETTINGS:
        try:
            yield
        except PictureError:
            raise
        except Image.DecompressionBombError as error:
            raise PictureError(_TOO_LARGE) from error
        except UnidentifiedImageError as error:
            raise PictureError("not an image that can be read: save it as PNG or JPEG") from error
        except Exception as error:  # every decoder raises its own kinds
            text = " ".join(str(error).split()) or type(error).__name__
            raise PictureError(f"damaged or incomplete ({text}): get or save it again") from error


def _decoded(source: Source) -> tuple[Image.Image, str, list[str]]:
    """(the image turned as its EXIF says, a description of it before that, a list of what was done)."""
    if isinstance(source, np.ndarray):
        return _upright(_from_array(source))
    if isinstance(source, Image.Image):
        return _upright(source)
    with _opened(source) as file:
        return _upright(_verified(file))


def _verified(file: BinaryIO) -> Image.Image:
    """The image in a file, not yet decoded."""
    # Decoding ignores the checksums of a PNG. This checks them, but then the image must be opened again.
    Image.open(file, formats=_formats()).verify()
    return Image.open(file, formats=_formats())


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
    """As `_decoded`; an image whose header rules it out is refused before anything is decoded."""
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
    # Read before loading, which turns a TIFF by itself and removes the tag.
    turned = image.getexif().get(ExifTags.Base.Orientation) in range(2, 9)
    with _libtiff_silent() if image.format == "TIFF" else nullcontext():
        image.load()
    if not turned:
        return image, was, []
    return ImageOps.exif_transpose(image), was, ["turned as its EXIF says"]


def _mend_transparent_colour(image: Image.Image) -> None:
    """Scale a PNG's transparent colour, given in the PNG's own bits, to the 8 bits that Pillow compares."""
    stored = str(image.tile[0].args)
    if ";16" in stored:
        raise PictureError("16 bits a sample with a transparent colour: save it as 8 bit")
    if stored in ("L;2", "L;4"):
        image.info["transparency"] *= {"L;2": 85, "L;4": 17}[stored]


_ONE_TIFF_AT_A_TIME = threading.Lock()


@contextmanager
def _libtiff_silent() -> Iterator[None]:
    """Close the process's stderr, to which libtiff writes directly and not through Python. What other threads
    write to it meanwhile is lost, too.
    """
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
    if image.mode in ("La", "RGBa"):  # premultiplied: this is the only conversion that Pillow has
        image = image.convert(image.mode.upper())
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA"))


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"
