import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from haarlequin.models import data
from haarlequin.models.config import placeholders
from haarlequin.models.data import IGNORE, DataError
from haarlequin.models.data.masks import read_masks
from haarlequin.models.presets import preset
from tests.models.data.test_folder import encoded, write_folder, write_tar

COUNTS = {"train": 6, "val": 2, "test": 3}
NAMES = "sky\nvoid\nroad\ncar\n"
CONFIG = SimpleNamespace(  # what `load` asks of a configuration
    name="seg", segmentation=True, image=(4, 8), channels=3, classes=placeholders(2), placeholder_classes=True
)


def png(array, mode=None):
    file = io.BytesIO()
    image = Image.fromarray(np.asarray(array, np.uint8))
    (image.convert(mode) if mode else image).save(file, "PNG")
    return file.getvalue()


def mask(i):
    """8 × 16 pixels of the values 0 to 3 in vertical stripes of two, and 255 at the left edge."""
    values = np.broadcast_to((np.arange(16) // 2 + i) % 4, (8, 16)).copy()
    values[:, 0:2] = IGNORE
    return values


@pytest.fixture
def files():
    """Path → content; an image's grey value is the number that its mask is made from."""
    found = {"classes.txt": NAMES.encode()}
    for start, (split, count) in enumerate(COUNTS.items()):
        for i in range(count):
            number = 10 * start + i
            found[f"{split}/images/town/{i}.jpg"] = jpeg(number)
            found[f"{split}/masks/town/{i}.png"] = png(mask(number))
    return found


def jpeg(value, size=(8, 16)):
    file = io.BytesIO()
    Image.new("RGB", size[::-1], (4 * value,) * 3).save(file, "JPEG")
    return file.getvalue()


def written(form, folder, files):
    if form == "folder":
        return write_folder(folder / "set", files)
    if form == "tar":
        backwards = dict(sorted(files.items(), reverse=True))  # the names come last, and masks before images
        return write_tar(folder / "set.tar.gz", {f"./set/{name}": backwards[name] for name in backwards})
    for split in COUNTS:
        part = {name: content for name, content in files.items() if name.startswith(split)}
        write_tar(folder / f"{split}.tar", part)
    return write_folder(folder, {"classes.txt": files["classes.txt"]})


every_form = pytest.mark.parametrize("form", ["folder", "tar", "folder of tars"])


@every_form
def test_every_form_gives_images_with_their_masks(tmp_path, files, form, capfd):
    found = data.load(CONFIG, written(form, tmp_path, files))
    assert "passed over" not in capfd.readouterr().err
    assert found.classes == ("sky", "road", "car")
    order = np.array([0, IGNORE, 1, 2])  # of the values in the files; void is none
    for split, first, count in ((found.train, 0, 6), (found.validation, 10, 2), (found.test, 20, 3)):
        assert (split.pixels.shape, split.pixels.dtype) == ((count, 4, 8, 3), np.uint8)
        assert (split.labels.shape, split.labels.dtype, split.has_masks) == ((count, 4, 8), np.uint8, True)
        for i in range(count):
            assert (split.pixels[i] == 4 * (first + i)).all()
            wanted = order[(np.arange(8) + first + i) % 4]
            wanted[0] = IGNORE
            assert np.array_equal(split.labels[i], np.broadcast_to(wanted, (4, 8)))


def test_a_mask_is_cut_like_its_image(tmp_path):
    """White where the mask is 1, in the middle of a picture that is too wide."""
    picture = np.zeros((8, 40), np.uint8)
    picture[2:6, 14:20] = 1
    files = {
        f"{split}/{kind}/{i}.png": png(picture * (255 if kind == "images" else 1))
        for split in ("train", "test")
        for kind in ("images", "masks")
        for i in range(3)
    }
    train, validation, _, classes = read_masks(write_folder(tmp_path, files), (8, 16), 1)
    assert (validation, classes) == (None, ("class 0", "class 1"))
    assert np.array_equal(train.labels[0] * 255, train.pixels[0, ..., 0])
    assert train.labels.sum() == 3 * 4 * 6


def test_classes_of_the_network_are_its_own_order(tmp_path, files):
    path = written("tar", tmp_path, files)
    config = SimpleNamespace(
        **vars(CONFIG) | {"classes": ("car", "sky", "road"), "placeholder_classes": False}
    )
    one, other = data.load(CONFIG, path), data.load(config, path)
    assert other.classes == config.classes
    order = np.array([1, 2, 0, *[7] * 252, IGNORE])
    assert np.array_equal(other.test.labels, order[one.test.labels])
    config.classes = ("car", "sky", "tree")
    with pytest.raises(DataError, match="has no class 'tree', which seg is to tell apart"):
        data.load(config, path)
    assert data.load(config, path, own_classes=True).classes == one.classes


def test_validation_images_are_held_out(tmp_path, files):
    path = write_folder(tmp_path, {name: files[name] for name in files if not name.startswith("val")})
    found = data.load(CONFIG, path)
    assert [len(s) for s in (found.train, found.validation, found.test)] == [5, 1, 3]
    assert np.array_equal(found.train.labels, data.load(CONFIG, path).train.labels)
    pixels = np.concatenate([found.train.pixels, found.validation.pixels])[:, 0, 0, 0]
    assert sorted(pixels.tolist()) == [0, 4, 8, 12, 16, 20]
    for i, value in enumerate(found.train.pixels[:, 0, 0, 0]):  # each has kept its own mask
        wanted = np.array([0, IGNORE, 1, 2])[(np.arange(1, 8) + value // 4) % 4]
        assert np.array_equal(found.train.labels[i, 0, 1:], wanted)


def test_val_alone_is_the_test_split(tmp_path, files):
    path = write_folder(tmp_path, {name: files[name] for name in files if not name.startswith("test")})
    assert [len(s) for s in read_masks(path, (4, 8), 3)[:3] if s] == [6, 2]


def test_masks_are_not_taken_for_classes_nor_classes_for_masks(tmp_path, files):
    with pytest.raises(
        DataError, match="images with masks, no classes of images: choose a segmentation netw"
    ):
        data.load(preset("cifar10-nano"), write_folder(tmp_path / "masks", files))
    classes = {
        f"{s}/{c}/{i}.png": encoded(i) for s in ("train", "test") for c in ("ant", "bee") for i in "01"
    }
    classes = {name: encoded(0) for name in classes}
    with pytest.raises(
        DataError, match=r"has no masks: they are looked for in train/masks/, of train/images/"
    ):
        data.load(CONFIG, write_folder(tmp_path / "classes", classes))
    with pytest.raises(DataError, match="digits has no masks"):
        data.load(preset("digits").with_(segmentation=True))
    (tmp_path / "cifar" / "cifar-10-batches-bin").mkdir(parents=True)
    with pytest.raises(DataError, match="cifar-10-batches-bin has no masks, which seg learns from"):
        data.load(CONFIG, tmp_path / "cifar")


def gone(part):
    return lambda files: {name: content for name, content in files.items() if part not in name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (gone("train/masks/town/3"), r"train/images/town/3\.jpg has no mask$"),
        (gone("test/images/town/1"), r"test/masks/town/1\.png has no image$"),
        (gone("val/masks"), r"val/images/town/0\.jpg has no mask \(2 have none\)"),
        (lambda f: gone("test")(gone("val")(f)), "no test images: they are looked for in test/images/"),
        (gone("train/masks"), "has no masks: they are looked for in train/masks/"),
        (lambda f: f | {"train/images/town/3.png": encoded(3)}, r"3\.(jpg|png) and .*3\.(jpg|png) have one"),
        (
            lambda f: f | {"train/masks/town/4.png": png(np.zeros((16, 32)))},
            r"masks/town/4\.png has 32×16 pixels, its image 16×8: they must be equal",
        ),
        (
            lambda f: f | {"train/masks/town/4.png": png(np.full((8, 16), 4))},
            r"masks/town/4\.png has the value 4, but classes\.txt has 4 classes, from 0 on",
        ),
        (lambda f: f | {"train/masks/town/4.png": encoded(1, (8, 16))}, r"4\.png: a mask has a number for"),
        (lambda f: f | {"train/masks/town/4.png": jpeg(1)}, r"4\.png: a mask must be a PNG, not a JPEG"),
        (
            lambda f: f | {"test/masks/town/0.png": b""},
            r"1 of 22 pictures cannot be used, the first: .*zero b",
        ),
        (lambda f: f | {"classes.txt": b"sky\nvoid\nsky\n"}, "must name at most 255 classes, once each"),
        (lambda f: f | {"classes.txt": b"sky\n"}, r"classes\.txt must name one class per line: classes must"),
        (
            lambda f: f | {"classes.txt": b"sk\xff\nb\n"},
            r"classes\.txt must name one class per line: 'utf-8'",
        ),
    ],
)
@pytest.mark.parametrize("form", ["folder", "tar"])
def test_what_is_missing_or_does_not_fit_is_named(tmp_path, files, form, change, message):
    with pytest.raises(DataError, match=message) as error:
        data.load(CONFIG, written(form, tmp_path, change(files)))
    assert "\n" not in str(error.value)


@every_form
def test_files_elsewhere_are_passed_over(tmp_path, files, form, capfd):
    more = {"train/depth/0.png": encoded(3), "train/images/notes.txt": b"x", "train/.masks/0.png": b""}
    data.load(CONFIG, written(form, tmp_path, files | more))
    (line,) = re.findall(".*passed over.*", capfd.readouterr().err.replace("\r", "\n"))
    assert "2 files passed over: " in line
    assert "1 in no images or masks" in line
    assert "1 that end in .txt" in line
