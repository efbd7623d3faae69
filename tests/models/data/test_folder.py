import io
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from models import data
from models.config import preset
from models.data import DataError
from models.data.folder import read_splits

CONFIG = preset("cifar10-nano").with_(image=(4, 4), classes=("cat", "ant", "bee"))
COUNTS = {"train": 8, "test": 3}


def encoded(value, size=(4, 4)):
    file = io.BytesIO()
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def files():
    """Path → content of a small image folder; each image's grey value tells its class and split."""
    found = {}
    for c, name in enumerate(("ant", "bee", "cat")):
        for split, count in COUNTS.items():
            for i in range(count):
                found[f"{split}/{name}/{i}.png"] = encoded(100 * c + (50 if split == "test" else 0) + i)
    return found


def write_folder(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_tar(path, files):
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def written(form, folder, files):
    if form == "folder":
        return write_folder(folder / "images", files)
    if form == "tar":
        return write_tar(folder / "images.tar", {f"./set/{name}": content for name, content in files.items()})
    for split in COUNTS:
        part = {name: content for name, content in files.items() if name.startswith(split)}
        write_tar(folder / f"{split}.tar.gz", part)
    return folder


@pytest.mark.parametrize("form", ["folder", "tar", "folder of tars"])
def test_every_form_gives_the_same_splits(tmp_path, files, form):
    found = data.load(CONFIG, written(form, tmp_path, files))
    assert found.classes == ("cat", "ant", "bee")
    assert [len(s) for s in (found.train, found.validation, found.test)] == [21, 3, 9]
    order = torch.tensor([1, 2, 0])  # of grey values: ant, bee, cat
    for split, grey in ((found.train, 0), (found.validation, 0), (found.test, 50)):
        values = split.pixels[:, 0, 0, 0].long()
        assert torch.equal(order[values // 100], split.labels)
        assert ((values % 100 >= grey) & (values % 100 < grey + 10)).all()
        assert split.pixels.dtype == torch.uint8
        assert split.pixels.shape[1:] == (4, 4, 3)
    assert sorted(found.validation.labels.tolist()) == [0, 1, 2]
    assert torch.equal(found.train.pixels, data.load(CONFIG, written(form, tmp_path, files)).train.pixels)


def test_val_is_test_and_folders_within_a_class_do_not_matter(tmp_path, files):
    renamed = {}
    for name, content in files.items():
        split, label, file = name.split("/")
        renamed[f"{'val' if split == 'test' else split}/{label}/images/{file}"] = content
    found = data.load(CONFIG, write_folder(tmp_path, renamed))
    assert [len(s) for s in (found.train, found.validation, found.test)] == [21, 3, 9]


def test_images_are_scaled_and_cut_to_the_networks_size(tmp_path, files):
    picture = np.zeros((8, 16, 3), np.uint8)
    picture[:, 4:12] = 200
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    files = {name: file.getvalue() for name in files}
    train, _, _ = read_splits(write_folder(tmp_path, files), (4, 4), 1)
    assert train.pixels.shape == (24, 4, 4, 1)
    assert (train.pixels[:, :, 1:3] > 180).all()


def test_placeholder_classes_take_the_names_of_the_data(tmp_path, files):
    config = preset("deit-tiny-224").with_(image=(16, 16))
    found = data.load(config, write_folder(tmp_path, files))
    assert found.classes == ("ant", "bee", "cat")


def without(files, part):
    return {name: content for name, content in files.items() if part not in name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: without(f, "test/bee"), "class 'bee' has train images but no test images"),
        (lambda f: without(f, "train/bee"), "class 'bee' has test images but no train images"),
        (lambda f: without(f, "bee"), "has no class 'bee', which cifar10-nano is to tell apart"),
        (lambda f: without(f, "test"), "no test images: they are looked for in test/<class>/"),
        (lambda f: f | {f"{s}/dog/1{i}.png": encoded(7) for s in COUNTS for i in "ab"}, "a class 'dog' that"),
        (lambda f: f | {"train/ant/3.png": b"nonsense"}, "3.png is no whole image"),
        (lambda f: f | {"train/ant/4.png": f["train/ant/4.png"][:50]}, "4.png is no whole image"),
        (
            lambda f: {n: c for n, c in f.items() if "train" not in n or "/0" in n},
            "at least two of each class",
        ),
    ],
)
@pytest.mark.parametrize("form", ["folder", "tar"])
def test_what_is_missing_or_broken_is_named(tmp_path, files, form, change, message):
    with pytest.raises(DataError, match=message):
        data.load(CONFIG, written(form, tmp_path, change(files)))


@pytest.mark.parametrize("blocks", [0, 1.5, 4, 32])
@pytest.mark.parametrize("name", ["images.tar", "images.tar.gz"])
def test_a_truncated_archive(tmp_path, files, name, blocks):
    path = write_tar(tmp_path / name, files)
    content = path.read_bytes()
    path.write_bytes(content[: int(512 * blocks if path.suffix == ".tar" else len(content) * blocks / 33)])
    with pytest.raises(DataError, match="truncated or no tar archive") as error:
        data.load(CONFIG, path)
    assert "\n" not in str(error.value)


def test_where_there_are_no_images(tmp_path):
    with pytest.raises(DataError, match="say where they are with --data DIR"):
        data.load(CONFIG)
    with pytest.raises(DataError, match="no such file or folder"):
        data.load(CONFIG, tmp_path / "nowhere")
    with pytest.raises(DataError, match="has neither train/<class>/"):
        data.load(CONFIG, tmp_path)
    with pytest.raises(DataError, match="leave --data out"):
        data.load("digits", tmp_path)
