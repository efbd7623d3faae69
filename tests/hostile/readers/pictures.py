"""Pictures in every format that Pillow can also write, in every mode, and masks."""

import io
import zlib
from contextlib import suppress
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from haarlequin.models.common.pictures import PictureError, convert, convert_mask, size_of
from tests.hostile.engine import Reader, Wrong
from tests.hostile.mutate import damaged

_SIDES = 4, 6
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "ICO", "PCX", "SGI", "JPEG2000", "DDS")
_FORMATS += ("QOI", "ICNS", "MSP", "XBM", "SPIDER", "AVIF")
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK")


def _corpus(folder: Path) -> list[bytes]:
    """Every format and mode that the project takes."""
    pixels = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    colour = Image.fromarray(pixels)
    found = []
    for mode in _MODES:
        image = Image.fromarray(pixels[..., 0].astype(np.uint16)) if mode == "I;16" else colour.convert(mode)
        for name in _FORMATS:
            found += _written(image, name)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "group4", "jpeg"):
        found += _written(
            colour.convert("1" if compression == "group4" else "RGB"), "TIFF", compression=compression
        )
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("PNG", "JPEG", "TIFF", "WEBP"):
        found += _written(colour, name, exif=exif)
    found += _written(colour.convert("P"), "PNG", bits=2, transparency=1)
    found += _written(colour, "PNG", transparency=(1, 2, 3))
    found += _written(colour, "JPEG", progressive=True, quality=5)
    return [data for data in found if _accepted(data)]


def _written(image: Image.Image, name: str, **options) -> list[bytes]:
    """The image in that format, unless the format cannot hold it."""
    file = io.BytesIO()
    try:
        image.save(file, name, **options)
    except (OSError, ValueError, KeyError):
        return []
    return [file.getvalue()]


def _accepted(data: bytes) -> bool:
    try:
        convert(data, *_SIDES, 3)
    except PictureError:
        return False
    return True


def _mutate(data: bytes, random: Random, others) -> bytes:
    """Headers are short and at the front, and that is where lengths are: they are damaged more often."""
    size = random.choice((8, 32, 128, len(data)))
    return damaged(data[:size], random, others) + data[size:]


def mend(data: bytes) -> bytes:
    """A PNG with right checksums of its chunks, as far as their lengths lead to places within it."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    mended, at = bytearray(data), 8
    while at + 12 <= len(mended):
        end = at + 8 + int.from_bytes(mended[at : at + 4])
        if end + 4 > len(mended):
            break
        mended[end : end + 4] = zlib.crc32(mended[at + 4 : end]).to_bytes(4)
        at = end + 4
    return bytes(mended)


def _read(data: bytes, folder: Path) -> None:
    """Training and inference read it, in grey and in colours; a PNG may also be a mask."""
    if data.startswith(b"\x89PNG"):
        with suppress(PictureError):
            mask, size = convert_mask(data, *_SIDES)
            if mask.shape != _SIDES or mask.dtype != np.uint8 or size != size_of(data):
                raise Wrong(f"a mask {mask.dtype} {mask.shape} of {size}, and {size_of(data)}")
    pixels, note = convert(data, *_SIDES, 3)
    if pixels.shape != (*_SIDES, 3) or pixels.dtype != np.uint8:
        raise Wrong(f"{pixels.dtype} {pixels.shape}")
    width, height = size_of(data)
    if 4 * width < _SIDES[1] or 4 * height < _SIDES[0]:
        raise Wrong(f"{width}×{height}: {note}")


READER = Reader("pictures", (PictureError,), _corpus, _read, _mutate, mend, seconds=10, megabytes=2048)
