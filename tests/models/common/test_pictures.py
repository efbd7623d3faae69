"""Any picture becomes a model's pixels, with a note of what was done, or one line that says why not.

What a model learns from and what it is asked about go through the same function.
"""

import io
import itertools
import os
import random
import re
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile

from haarlequin.models.common import pictures
from haarlequin.models.common.pictures import PictureError, centre, convert, convert_mask, fitted, size_of
from haarlequin.models.data import DataError, load
from haarlequin.models.presets import PRESETS
from haarlequin.sw.accelerator import Accelerator

RGB = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def saved(path, image, **options):
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def refused(source, message, height=8, width=8):
    """The whole message, with the path in front where there is one."""
    if isinstance(source, Path):
        message = f"{re.escape(str(source))}: {message}"
    with pytest.raises(PictureError, match=rf"\A{message}\Z"):
        convert(source, height, width, 3)


@pytest.mark.parametrize("form", ["file", "image", "array"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_fits_stays_as_it_is(tmp_path, form, channels):
    wanted = RGB[..., :channels]
    image = Image.fromarray(wanted.squeeze())
    source = {"file": saved(tmp_path / "x.png", image), "image": image, "array": wanted}[form]
    pixels, note = convert(source, 6, 8, channels)
    assert note is None
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, wanted)
    pixels[:] = 0  # the caller's own


def test_grey_arrays_without_an_axis_for_it():
    pixels, note = convert(RGB[..., 0], 6, 8, 3)
    assert note == "8×6 grey: made RGB"
    np.testing.assert_array_equal(pixels, RGB[..., [0, 0, 0]])


def image_of(mode):
    """(200, 100, 50), half of it alpha, in any mode."""
    rgba = Image.new("RGBA", (4, 4), (200, 100, 50, 128))
    if mode in ("LA", "La"):
        return rgba.convert("LA").convert(mode)
    if mode == "PA":
        image = Image.new("PA", (4, 4), (0, 128))
        image.putpalette([200, 100, 50])
        return image
    if mode == "LAB":
        spaces = [ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
        return ImageCms.applyTransform(rgba.convert("RGB"), ImageCms.buildTransform(*spaces, "RGB", "LAB"))
    return (rgba if mode in ("RGBA", "RGBa") else rgba.convert("RGB")).convert(mode)


OPAQUE, ON_WHITE = (200, 100, 50), (227, 177, 152)


@pytest.mark.parametrize(
    ("mode", "colour", "note"),
    [
        ("RGB", OPAQUE, None),
        ("RGBA", ON_WHITE, "RGBA: alpha over white"),
        ("RGBa", ON_WHITE, "RGBa: alpha over white"),
        ("RGBX", OPAQUE, "RGBX: made RGB"),
        ("P", (204, 102, 51), "palette: made RGB"),
        ("PA", ON_WHITE, "PA: alpha over white, made RGB"),
        ("L", (124,) * 3, "grey: made RGB"),
        ("LA", (189,) * 3, "grey with alpha: alpha over white, made RGB"),
        ("La", (189,) * 3, "La: alpha over white, made RGB"),
        ("YCbCr", OPAQUE, "YCbCr: made RGB"),
        ("HSV", OPAQUE, "HSV: made RGB"),
        ("LAB", OPAQUE, "LAB: made RGB"),
    ],
)
def test_every_mode(mode, colour, note):
    pixels, said = convert(image_of(mode), 4, 4, 3)
    assert said == (note and f"4×4 {note}")
    assert np.abs(pixels.astype(int) - colour).max() <= 1
    grey, _ = convert(image_of(mode), 4, 4, 1)
    assert np.abs(grey.astype(int) - colour @ np.array([0.299, 0.587, 0.114])).max() <= 3


def test_one_bit_images_are_scaled_as_grey():
    image = Image.fromarray(np.indices((8, 8)).sum(0) % 2 == 0)
    pixels, note = convert(image, 4, 4, 1)
    assert note == "8×8 1-bit: scaled to 4×4, made grey"
    assert set(pixels.ravel()) <= {127, 128}


@pytest.mark.parametrize(("mode", "key"), [("P", 1), ("P", b"\xff\0"), ("L", 1), ("RGB", (1, 1, 1))])
def test_colours_that_stand_for_transparent(tmp_path, mode, key):
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8))
    if mode == "P":
        image.putpalette([0, 0, 0, 1, 1, 1])
    path = saved(tmp_path / "x.png", image.convert(mode), transparency=key)
    pixels, note = convert(path, 2, 2, 1)
    assert pixels[..., 0].tolist() == [[0, 255], [255, 0]]
    assert "alpha over white" in note


def png(depth, colour, row, key, size=(8, 8)):
    """A PNG of equal rows, with a colour that stands for transparent."""
    header = struct.pack(">4sIIBBBBB", b"IHDR", *size, depth, colour, 0, 0, 0)
    chunks = header, b"tRNS" + key, b"IDAT" + zlib.compress((b"\0" + row) * size[1]), b"IEND"
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(f">I{len(x)}sI", len(x) - 4, x, zlib.crc32(x)) for x in chunks
    )


@pytest.mark.parametrize(
    ("depth", "row", "wanted"),
    [
        (1, b"\xaa", [255, 255, 255, 255]),
        (2, b"\x1b\x1b", [0, 255, 170, 255]),
        (4, b"\x01\x23\x45\x67", [0, 255, 34, 51]),
        (8, bytes(range(8)), [0, 255, 2, 3]),
    ],
)
def test_a_transparent_colour_in_the_files_own_bits(depth, row, wanted):
    key = b"\0\0" if depth == 1 else b"\0\1"
    assert convert(png(depth, 0, row, key), 8, 8, 1)[0][0, :4, 0].tolist() == wanted


def test_a_transparent_colour_of_16_bits_is_refused():
    """Pillow has kept 8 of them, of which several colours have the same."""
    content = png(
        16, 2, struct.pack(">6H", 300, 300, 300, 301, 301, 301) * 4, struct.pack(">3H", 300, 300, 300)
    )
    refused(content, "16 bits a sample with a transparent colour: save it as 8 bit")


def test_all_that_can_be_done_in_one_note():
    image = Image.new("RGBA", (640, 480))
    pixels, note = convert(image, 32, 32, 1)
    wanted = "alpha over white, cropped to the centre 480×480, scaled to 32×32, made grey"
    assert note == f"640×480 RGBA: {wanted}"
    assert pixels.shape == (32, 32, 1)
    assert (pixels == 255).all()


@pytest.mark.parametrize(
    ("size", "centre"), [((4, 12), (4, 8)), ((7, 4), (2, 4)), ((16, 8), (4, 8)), ((9, 7), (4, 7))]
)
def test_cropped_around_the_centre(size, centre):
    """Models are half as wide as high: what is left is white, what is cut is black."""
    (width, height), (inner, outer) = size, centre
    array = np.zeros((height, width), np.uint8)
    top, left = (height - outer) // 2, (width - inner) // 2
    array[top : top + outer, left : left + inner] = 255
    pixels, note = convert(array, 8, 4, 1)
    assert (pixels == 255).all()
    assert f"cropped to the centre {inner}×{outer}" in note


@pytest.mark.parametrize("size", [20, 21, 32, 100, 500])
def test_scaling_averages_and_does_not_ring(size):
    edge = np.full((size, size), 50, np.uint8)
    edge[:, size // 2 :] = 200
    pixels, _ = convert(edge, 16, 16, 1)
    assert (pixels.min(), pixels.max()) == (50, 200)
    chequered = (np.indices((16 * 6, 16 * 6)).sum(0) % 2 * 255).astype(np.uint8)
    pixels, _ = convert(chequered, 16, 16, 1)
    assert np.abs(pixels.astype(int) - 127).max() <= 3


STORED = {  # how a camera stores what is upright, by EXIF's orientation
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: np.rot90,
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_turned_upright(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](RGB))
    path = saved(
        tmp_path / f"x.{suffix}", stored, exif=exif, **{"lossless": True} if suffix == "webp" else {}
    )
    pixels, note = convert(path, 6, 8, 3)
    np.testing.assert_array_equal(pixels, RGB)
    assert (note or "").endswith("RGB: turned as its EXIF says") == (orientation != 1)


def test_a_png_may_say_behind_its_pixels_how_it_is_turned(tmp_path):
    chunk = b"eXIf" + struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path = saved(tmp_path / "x.png", np.rot90(RGB).copy())
    content = path.read_bytes()
    path.write_bytes(content[:-12] + chunk + content[-12:])
    pixels, note = convert(path, 6, 8, 3)
    np.testing.assert_array_equal(pixels, RGB)
    assert note == "6×8 RGB: turned as its EXIF says"


def test_no_smaller_than_a_quarter():
    assert convert(RGB[:2, :2], 8, 8, 3)[1] == "2×2 RGB: scaled to 8×8"
    for few in (RGB[:1, :8], RGB[:6, :1], RGB[:1, :1], RGB[:0]):
        size = f"{few.shape[1]}×{few.shape[0]}"
        refused(few, f"{size} is less than a quarter of the model's 8×8: take a larger image")
    assert convert(RGB[:2, :3], 8, 1, 3)[1] == "3×2 RGB: cropped to the centre 1×2, scaled to 1×8"
    refused(RGB[:5, :2], "2×5 is less than a quarter of the model's 9×8: take a larger image", width=9)


SHAPES = r"an array must be uint8 of \(H, W\), \(H, W, 1\), \(H, W, 3\) or \(H, W, 4\), not "


def test_other_arrays_are_refused():
    for shape in ((8,), (8, 8, 2), (8, 8, 5), (1, 8, 8, 3)):
        refused(np.zeros(shape, np.uint8), SHAPES + re.escape(f"uint8 of {shape}"))
    refused(np.zeros((8, 8)), SHAPES + r"float64 of \(8, 8\)")
    with pytest.raises(ValueError, match="channels must be 1 or 3, not 4"):
        convert(RGB, 8, 8, 4)
    with pytest.raises(TypeError, match=r"source must be a Path, bytes, an Image or an array, not 'x.png'"):
        convert("x.png", 8, 8, 3)


def encoded(suffix, image=RGB, **options):
    stream = io.BytesIO()
    Image.fromarray(np.kron(image, np.ones((4, 4, 1), np.uint8))).save(
        stream, Image.registered_extensions()[f".{suffix}"], **options
    )
    return stream.getvalue()


def png_of_size(width, height):
    """A PNG that says so, with no pixels behind it."""
    chunks = struct.pack(">4sIIBBBBB", b"IHDR", width, height, 8, 2, 0, 0, 0), b"IDAT"
    framed = [struct.pack(f">I{len(x)}sI", len(x) - 4, x, zlib.crc32(x)) for x in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


DAMAGED = r"damaged or incomplete \([^\n]+\): get or save it again"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "zero bytes: get or save it again"),
        (b"my holidays", "not an image that can be read: save it as PNG or JPEG"),
        (encoded("eps"), "not an image that can be read: save it as PNG or JPEG"),
        (png_of_size(10_000, 10_000), "more than 64 million pixels: scale it down first"),
        (png_of_size(30_000, 30_000), "more than 64 million pixels: scale it down first"),
        (png_of_size(8_000, 8_000), DAMAGED),
    ],
    ids=["empty", "text", "EPS", "large", "bomb", "at the limit"],
)
def test_files_that_are_refused(tmp_path, content, message):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    refused(path, message)


def test_too_many_pixels_in_memory(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 64)
    assert convert(np.zeros((8, 8), np.uint8), 8, 8, 1)[1] is None
    refused(np.zeros((8, 9), np.uint8), "more than 64 million pixels: scale it down first")


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("CMYK", "CMYK, whose colours depend on a profile: convert it to RGB first"),
        ("I;16", r"more than 8 bits a sample \(mode I;16\): save it as 8 bit"),
        ("I", r"more than 8 bits a sample \(mode I\): save it as 8 bit"),
        ("F", r"more than 8 bits a sample \(mode F\): save it as 8 bit"),
    ],
)
def test_modes_that_are_refused(tmp_path, mode, message):
    refused(saved(tmp_path / "x.tif", Image.new(mode, (8, 8))), message)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_several_frames_are_refused(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), (40 * i, 0, 0)) for i in range(3)]
    path = saved(tmp_path / f"x.{suffix}", frames[0], save_all=True, append_images=frames[1:])
    refused(path, "3 frames: extract one and give that")


def test_a_phones_jpeg_with_a_preview_is_one_picture(tmp_path):
    preview = Image.new("RGB", (8, 8), "red")
    white = Image.new("RGB", (8, 8), "white")
    path = saved(tmp_path / "x.jpg", white, format="MPO", save_all=True, append_images=[preview])
    pixels, note = convert(path, 8, 8, 3)
    assert (pixels == 255).all()
    assert note is None


def test_paths_that_cannot_be_opened(tmp_path, monkeypatch):
    refused(tmp_path / "gone.png", "cannot be opened: No such file or directory")
    refused(tmp_path, "a folder, not an image: name the images in it")
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", "not a regular file: save the image as one")
    path = saved(tmp_path / "x.png", RGB)

    def denied(self, mode):  # by hand: root may read everything
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    refused(path, "cannot be opened: Permission denied")


FORMATS = [
    *(("jpg", {}), ("jpg", {"progressive": True}), ("png", {}), ("gif", {}), ("bmp", {}), ("webp", {})),
    *(
        ("webp", {"lossless": True}),
        ("tif", {}),
        *(("tif", {"compression": x}) for x in ("tiff_lzw", "jpeg")),
    ),
]
each_format = pytest.mark.parametrize(("suffix", "options"), FORMATS)


@each_format
def test_cut_files_are_refused_whatever_pillow_is_set_to(tmp_path, monkeypatch, suffix, options):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    whole, path = encoded(suffix, **options), tmp_path / f"x.{suffix}"
    for part in (0.4, 0.7, 0.9):
        path.write_bytes(whole[: int(len(whole) * part)])
        refused(path, f"({DAMAGED}|not an image that can be read: save it as PNG or JPEG)")
    assert (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS) == (True, None)


def test_no_flipped_bit_in_a_png_changes_its_pixels(tmp_path):
    """Decoding alone lets some through, and its own checksum tells them."""
    whole, path = encoded("png", compress_level=1), tmp_path / "x.png"
    path.write_bytes(whole)
    wanted, outcomes = convert(path, 24, 32, 3)[0], set()
    for at in range(0, len(whole), 2):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at // 2 % 8]) + whole[at + 1 :])
        try:
            outcomes.add((convert(path, 24, 32, 3)[0] == wanted).all().item())
        except PictureError:
            outcomes.add("refused")
    assert outcomes <= {True, "refused"}


@pytest.mark.parametrize(
    "error", [MemoryError(), zlib.error("no\n  good"), EOFError("no good"), RecursionError("x")]
)
def test_whatever_a_decoder_raises_is_one_line(tmp_path, monkeypatch, error):
    path = saved(tmp_path / "x.png", RGB)

    def fails(image):
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", fails)
    refused(path, DAMAGED)
    refused(path, rf".*\(({type(error).__name__}|no good|x)\).*")


@each_format
def test_damaged_files_give_pixels_or_an_error_and_are_silent(tmp_path, capfd, suffix, options):
    rng = random.Random(f"{suffix} {options}")
    whole, path, outcomes = encoded(suffix, **options), tmp_path / f"x.{suffix}", set()
    capfd.readouterr()
    for _ in range(150):
        content = bytearray(whole[: rng.choice([len(whole), rng.randrange(1, len(whole))])])
        for _ in range(rng.choice([0, 1, 5, 20])):
            content[rng.randrange(min(len(content), rng.choice([100, len(whole)])))] = rng.randrange(256)
        path.write_bytes(content)
        try:
            pixels, _ = convert(path, 8, 8, 3)
            outcomes.add((pixels.shape, pixels.dtype.name))
        except PictureError as error:
            outcomes.add(
                "error" if str(error).startswith(f"{path}: ") and "\n" not in str(error) else str(error)
            )
    assert outcomes == {((8, 8, 3), "uint8"), "error"}
    os.write(2, b"not for ever")
    assert capfd.readouterr() == ("", "not for ever")


def test_pillows_log_stays_off_stderr(tmp_path):
    """In a process that has no logging set up, unlike this one."""
    entry = struct.pack("<HHI", 277, 3, 1)  # samples per pixel: three, made 30,000
    content = encoded("tif").replace(entry + struct.pack("<I", 3), entry + struct.pack("<I", 30_000))
    path = tmp_path / "x.tif"
    path.write_bytes(content)
    code = """import pathlib, sys; from haarlequin.models.common import pictures
try: pictures.convert(pathlib.Path(sys.argv[1]), 8, 8, 3)
except pictures.PictureError as error: print(error)"""
    run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == (
        f"{path}: not an image that can be read: save it as PNG or JPEG\n",
        "",
    )


def test_pillows_warnings_are_not_the_users(tmp_path, monkeypatch):
    monkeypatch.setattr(
        pictures, "MAX_PIXELS", 100
    )  # Pillow warns beyond half of it, and here that is an error
    assert convert(saved(tmp_path / "x.png", Image.new("L", (8, 8))), 8, 8, 1)[1] is None


@pytest.mark.parametrize(
    ("size", "wanted", "part"),
    [
        ((640, 480), (32, 32), (480, 480)),
        ((480, 641), (8, 8), (480, 480)),
        ((640, 480), (32, 16), (640, 320)),
        ((1, 500), (32, 8), (1, 1)),
        ((9, 7), (9, 7), (9, 7)),
    ],
)
def test_centre(size, wanted, part):
    assert centre(size, wanted) == part


def test_what_is_around_the_centre_does_not_matter():
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, 10:50] = 200
    assert (fitted(Image.fromarray(pixels), 20, 20, 3) == 200).all()
    pixels[:, 49] = 0  # within it, at the edge
    assert not (fitted(Image.fromarray(pixels), 20, 20, 3) == 200).all()


def written(path, name):
    """A picture of that name of `ODD`."""
    grey = Image.fromarray(np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8))
    clear = grey.convert("RGBA")
    clear.putalpha(Image.fromarray(np.tile(np.array([0, 255, 100, 255], np.uint8), (8, 2))))
    options = {}
    if name == "palette.png":
        picture, options = clear.convert("RGB").quantize(16), {"transparency": bytes([0, 255, 128])}
    elif name == "16.tif":
        picture = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000)
    elif name == "two.gif":
        picture, options = grey, {"save_all": True, "append_images": [grey.rotate(90)]}
    elif name == "small.png":
        picture = grey.crop((0, 0, 3, 2))
    else:
        modes = {
            "la.png": "LA",
            "pa.tif": "PA",
            "1.png": "1",
            "cmyk.jpg": "CMYK",
            "float.tif": "F",
            "int.tif": "I",
        }
        picture = clear.convert(modes[name]) if name in modes else clear
    picture.save(path / name, **options)
    return path / name


ODD = ["la.png", "palette.png", "1.png", "cmyk.jpg", "float.tif", "int.tif", "16.tif", "two.gif", "small.png"]
ODD += ["rgba.png", "rgba.webp", "rgba.avif", "rgba.tga", "rgba.tif", "rgba.jp2", "cmyk.tif"]


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("preset", ["digits", "cifar10-nano"])
def test_training_and_inference_take_or_refuse_alike(tmp_path, name, preset):
    """The same file through `--data` and through `sw/infer.py`'s door."""
    picture = written(tmp_path, name) if name != "cmyk.tif" else tmp_path / name
    if name == "cmyk.tif":
        Image.new("CMYK", (8, 8)).save(picture)
    config = PRESETS[preset].with_(name="own", classes=("a", "b"))
    for split, class_, i in itertools.product(("train", "test"), config.classes, range(2)):
        place = tmp_path / "set" / split / class_ / f"{i}{picture.suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture.read_bytes())
    accelerator = SimpleNamespace(model_config=config)
    try:
        asked = Accelerator.pixels(accelerator, picture)[0]
    except PictureError as error:
        why = str(error).removeprefix(f"{picture}: ")
        with pytest.raises(DataError, match=rf"8 of 8 pictures cannot be used, .*{re.escape(why)}\Z"):
            load(config, tmp_path / "set")
    else:
        learnt = load(config, tmp_path / "set")
        for split in (learnt.train, learnt.validation, learnt.test):
            assert len(split)
            assert all(np.array_equal(pixels, asked) for pixels in split.pixels)


def test_threads_convert_at_once_and_pillow_is_put_back(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    names = [written(tmp_path, name) for name in ("la.png", "rgba.tif", "cmyk.jpg", "palette.png")] * 25

    def outcome(path):
        try:
            return convert(path, 8, 8, 3)[0].tobytes()
        except PictureError as error:
            return str(error)

    alone = list(map(outcome, names))
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(outcome, names)) == alone
    assert ImageFile.LOAD_TRUNCATED_IMAGES


# Masks


NUMBERS = np.arange(8, dtype=np.uint8) % 4
"""A row of a mask, in every depth."""


@pytest.mark.parametrize(
    ("depth", "row"),
    [(2, b"\x1b\x1b"), (4, bytes.fromhex("01230123")), (8, bytes(NUMBERS))],
)
@pytest.mark.parametrize("colour", [0, 3], ids=["grey", "palette"])
def test_the_numbers_of_a_mask_whatever_its_depth(depth, row, colour):
    header = struct.pack(">4sIIBBBBB", b"IHDR", 8, 8, depth, colour, 0, 0, 0)
    palette = [b"PLTE" + bytes(range(12, 0, -1))] * (colour == 3)
    chunks = header, *palette, b"IDAT" + zlib.compress((b"\0" + row) * 8), b"IEND"
    framed = [struct.pack(f">I{len(x)}sI", len(x) - 4, x, zlib.crc32(x)) for x in chunks]
    mask, size = convert_mask(b"\x89PNG\r\n\x1a\n" + b"".join(framed), 8, 8)
    assert (size, mask.dtype) == ((8, 8), np.uint8)
    np.testing.assert_array_equal(mask, np.broadcast_to(NUMBERS, (8, 8)))


def test_a_mask_of_bits_has_two_classes(tmp_path):
    path = saved(tmp_path / "x.png", Image.fromarray(np.eye(4, dtype=bool)))
    np.testing.assert_array_equal(convert_mask(path, 4, 4)[0], np.eye(4))


@given(
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    wanted=st.tuples(st.integers(1, 12), st.integers(1, 12)),
)
def test_a_mask_is_scaled_by_nearest_neighbour_within_the_same_cut(size, wanted):
    """Each pixel is the one of the cut-out in which its centre lies."""
    file = io.BytesIO()
    numbers = np.arange(size[0] * size[1], dtype=np.uint8).reshape(size) if size[0] * size[1] < 256 else None
    numbers = np.zeros(size, np.uint8) if numbers is None else numbers
    Image.fromarray(numbers).save(file, "PNG")
    mask, before = convert_mask(file.getvalue(), *wanted)
    assert before == size[::-1]
    width, height = centre(size[::-1], wanted[::-1])
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    rows = [top + (2 * i + 1) * height // (2 * wanted[0]) for i in range(wanted[0])]
    columns = [left + (2 * i + 1) * width // (2 * wanted[1]) for i in range(wanted[1])]
    np.testing.assert_array_equal(mask, numbers[rows][:, columns])


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_mask_is_turned_like_its_picture(orientation):
    stored = np.zeros((8, 12), np.uint8)
    stored[:4, :3] = 1
    exif = Image.Exif()
    exif[0x0112] = orientation
    contents = []
    for array in (stored * 255, stored):
        file = io.BytesIO()
        Image.fromarray(array).save(file, "PNG", exif=exif)
        contents.append(file.getvalue())
    size = (12, 8) if orientation < 5 else (8, 12)
    assert size_of(contents[0]) == size
    mask, turned = convert_mask(contents[1], 6, 6)
    assert turned == size
    np.testing.assert_array_equal(mask * 255, (convert(contents[0], 6, 6, 1)[0][..., 0] > 127) * 255)


@pytest.mark.parametrize(
    ("form", "mode", "message"),
    [
        ("JPEG", "L", "a mask must be a PNG, not a JPEG: save it as one"),
        ("GIF", "P", "a mask must be a PNG, not a GIF: save it as one"),
        ("PNG", "RGB", "a mask has a number for each pixel, grey or of a palette, not RGB"),
        ("PNG", "LA", "a mask has a number for each pixel, grey or of a palette, not grey with alpha"),
        ("PNG", "I;16", r"a mask has a number for each pixel, .* not I;16"),
    ],
)
def test_what_is_no_mask(form, mode, message):
    file = io.BytesIO()
    Image.new(mode, (8, 8)).save(file, form)
    with pytest.raises(PictureError, match=rf"\A{message}\Z"):
        convert_mask(file.getvalue(), 8, 8)


@pytest.mark.parametrize(
    ("kept", "message"), [(0, "zero bytes"), (4, "not an image"), (50, "damaged or inc")]
)
def test_a_mask_that_is_not_whole(tmp_path, kept, message):
    content = saved(tmp_path / "x.png", RGB[..., 0]).read_bytes()[:kept]
    for read in (lambda: convert_mask(content, 6, 8), lambda: convert(content, 6, 8, 3)):
        with pytest.raises(PictureError, match=message):
            read()
