"""Any picture becomes a model's pixels, with a note of what was done, or one line that says why not."""

import io
import os
import random
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from sw import images
from sw.images import Found, ImageError, class_of, convert, find

RGB = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def saved(path, image, **options):
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return list(paths)


def refused(source, message, height=8, width=8):
    """The whole message, with the path in front where there is one."""
    if isinstance(source, Path):
        message = f"{re.escape(str(source))}: {message}"
    with pytest.raises(ImageError, match=rf"\A{message}\Z"):
        convert(source, height, width, 3)


def test_a_folder_gives_its_images_in_natural_order(tmp_path):
    wanted = touch(*(tmp_path / name for name in ("2.png", "10.PNG", "a/1.jpg", "a/b/x.webp", "c.tiff")))
    touch(*(tmp_path / name for name in (".hidden.png", ".git/1.png", "notes.txt", "a.pdf", "a.eps", "png")))
    assert find([str(tmp_path)]) == [Found(path) for path in wanted]


def test_links_are_followed_but_not_in_circles(tmp_path):
    [image] = touch(tmp_path / "here" / "1.png")
    (tmp_path / "here" / "up").symlink_to(tmp_path / "here")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "link").symlink_to(tmp_path / "here")
    assert find([str(tmp_path)]) == [Found(image), Found(tmp_path / "there" / "link" / "1.png")]


def test_patterns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(
        *map(Path, ("2.png", "10.png", ".1.png", "d/3.png", "d/e/4.png", "d/notes.txt", "5.dat", "[x].png"))
    )

    def paths(*names):
        return [str(each.path) for each in find(names)]

    assert paths("[0-9]*.png") == ["2.png", "10.png"]
    assert paths("?.dat") == ["5.dat"]
    assert paths("d/**/*.png") == ["d/3.png", "d/e/4.png"]
    assert paths("[d]") == ["d/3.png", "d/e/4.png"]
    assert paths("[x].png") == ["[x].png"]


def test_names_that_yield_nothing_are_problems_in_their_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(Path("1.png"), Path("2.txt"), Path("empty/notes.txt"))
    names = [
        "gone.png",
        "./1.png",
        "empty",
        "1.png",
        "*.gif",
        str(tmp_path / "1.png"),
        "",
        "2.txt",
        "gone.png",
    ]
    assert find(names) == [
        Found(Path("gone.png"), "no such file or folder"),
        Found(Path("1.png")),
        Found(Path("empty"), "no images in this folder"),
        Found(Path("*.gif"), "no images match this pattern"),
        Found(Path(), "no such file or folder"),
        Found(Path("2.txt")),
    ]
    long = "x" * 300
    assert find([long, "1.png"]) == [
        Found(Path(long), "cannot be read: File name too long"),
        Found(Path("1.png")),
    ]


def test_a_folder_that_cannot_be_read_is_a_problem(tmp_path, monkeypatch):
    [image] = touch(tmp_path / "b" / "1.png")
    (tmp_path / "a").mkdir()
    listed = Path.iterdir

    def denied(path):  # by hand: root may read everything
        if path.name == "a":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", denied)
    assert find([str(tmp_path)]) == [Found(tmp_path / "a", "cannot be read: Permission denied"), Found(image)]


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


def test_larger_than_half():
    assert convert(RGB[:4, :4], 8, 8, 3)[1] == "4×4 RGB: scaled to 8×8"
    for few in (RGB[:3, :8], RGB[:6, :3], RGB[:1, :1], RGB[:0]):
        size = f"{few.shape[1]}×{few.shape[0]}"
        refused(few, f"{size} is less than half of the model's 8×8: take a larger image")
    assert convert(RGB[:4, :3], 8, 1, 3)[1] == "3×4 RGB: cropped to the centre 1×4, scaled to 1×8"
    refused(RGB[:5, :4], "4×5 is less than half of the model's 9×8: take a larger image", width=9)


SHAPES = r"an array must be uint8 of \(H, W\), \(H, W, 1\), \(H, W, 3\) or \(H, W, 4\), not "


def test_other_arrays_are_refused():
    for shape in ((8,), (8, 8, 2), (8, 8, 5), (1, 8, 8, 3)):
        refused(np.zeros(shape, np.uint8), SHAPES + re.escape(f"uint8 of {shape}"))
    refused(np.zeros((8, 8)), SHAPES + r"float64 of \(8, 8\)")
    with pytest.raises(ValueError, match="channels must be 1 or 3, not 4"):
        convert(RGB, 8, 8, 4)
    with pytest.raises(TypeError, match=r"source must be a Path, an Image or an array, not 'x.png'"):
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
    monkeypatch.setattr(images, "MAX_PIXELS", 64)
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
        except ImageError:
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
        except ImageError as error:
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
    code = """import pathlib, sys; from sw import images
try: images.convert(pathlib.Path(sys.argv[1]), 8, 8, 3)
except images.ImageError as error: print(error)"""
    run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == (
        f"{path}: not an image that can be read: save it as PNG or JPEG\n",
        "",
    )


def test_pillows_warnings_are_not_the_users(tmp_path, monkeypatch):
    monkeypatch.setattr(
        images, "MAX_PIXELS", 100
    )  # Pillow warns beyond half of it, and here that is an error
    assert convert(saved(tmp_path / "x.png", Image.new("L", (8, 8))), 8, 8, 1)[1] is None


def test_the_class_is_the_folder(tmp_path, monkeypatch):
    assert class_of(Path("pictures/cat/0001.jpg"), ["dog", "cat"]) == 1
    assert class_of(Path("cat/more/0001.jpg"), ["dog", "cat"]) is None
    assert class_of(Path("Cat/cat.jpg"), ("dog", "cat")) is None
    (tmp_path / "dog").mkdir()
    monkeypatch.chdir(tmp_path / "dog")
    assert class_of(Path("1.jpg"), ["dog", "cat"]) == 0
